"""Makes topics, permissions and users at Kafka. Blocking: off the event loop only."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from imaging_common.messaging.permissions import Acl, Topic

CALL_DEADLINE_SECONDS = 30
IN_FORCE_DEADLINE_SECONDS = 120
SCRAM_ITERATIONS = 8192
EVERY_ACL = AclBindingFilter(
    ResourceType.ANY, None, ResourcePatternType.ANY, None, None, AclOperation.ANY, AclPermissionType.ANY
)


@dataclass(frozen=True, slots=True)
class Way:
    """How an administrator reaches Kafka; the default is that of every service."""

    mechanism: str = "SCRAM-SHA-512"
    """`PLAIN` where the first user cannot be a SCRAM one."""
    tls: bool = False
    ca: str = ""
    """Whose certificates Kafka may have (PEM file); empty: the system's."""


def connect(bootstrap: str, user: str, password: str, way: Way = Way()) -> AdminClient:
    """An administrator's connection (SASL)."""
    return AdminClient(connection_options(bootstrap, user, password, way))


def connection_options(bootstrap: str, user: str, password: str, way: Way = Way()) -> dict[str, Any]:
    """What every client of librdkafka needs for that connection."""
    options: dict[str, Any] = {
        "bootstrap.servers": bootstrap,
        "security.protocol": "SASL_SSL" if way.tls else "SASL_PLAINTEXT",
        "sasl.mechanism": way.mechanism,
        "sasl.username": user,
        "sasl.password": password,
        "socket.connection.setup.timeout.ms": 10_000,
        "log_level": 2,
    }
    if way.ca:
        options["ssl.ca.location"] = way.ca
    return options


def apply(admin: AdminClient, topics: Sequence[Topic], acls: Sequence[Acl], *, replication: int = 1) -> None:
    """Create topics and permissions, and return when they are in force; what is there already stays.

    The controller acknowledges before the broker knows: until it does, everybody is refused. Of several replicas one
    may be away (`min.insync.replicas`).

    Raises
    ------
    KafkaException
        Kafka does not answer, or refuses.
    RuntimeError
        They were not in force after two minutes.
    """
    away = {"min.insync.replicas": str(replication - 1)} if replication > 1 else {}
    new = [
        NewTopic(t.name, num_partitions=t.partitions, replication_factor=replication, config=dict(t.config) | away)
        for t in topics
    ]
    for future in admin.create_topics(new, operation_timeout=CALL_DEADLINE_SECONDS).values():
        try:
            future.result(CALL_DEADLINE_SECONDS)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
    bindings = [
        AclBinding(
            ResourceType[acl.resource.upper()],
            acl.name,
            ResourcePatternType.PREFIXED if acl.prefix else ResourcePatternType.LITERAL,
            f"User:{acl.principal}",
            "*",
            AclOperation[acl.operation],
            AclPermissionType.ALLOW,
        )
        for acl in acls
    ]
    for future in admin.create_acls(bindings).values():
        future.result(CALL_DEADLINE_SECONDS)
    deadline = time.monotonic() + IN_FORCE_DEADLINE_SECONDS
    while not _in_force(admin, {topic.name for topic in topics}, set(bindings)):
        if time.monotonic() > deadline:
            raise RuntimeError(f"topics and ACLs were not in force after {IN_FORCE_DEADLINE_SECONDS} s")
        time.sleep(0.1)


def set_password(admin: AdminClient, user: str, password: str) -> None:
    """Make the user, or give it another password: who signs in with the old one is refused from then on.

    Raises
    ------
    KafkaException
        Kafka does not answer, or refuses.
    """
    set_passwords(admin, {user: password})


def set_passwords(admin: AdminClient, passwords: Mapping[str, str]) -> None:
    """The same for several users at once."""
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, SCRAM_ITERATIONS)
    changes = [UserScramCredentialUpsertion(user, info, password.encode()) for user, password in passwords.items()]
    for future in admin.alter_user_scram_credentials(changes, request_timeout=CALL_DEADLINE_SECONDS).values():
        future.result(CALL_DEADLINE_SECONDS)


def known_users(admin: AdminClient) -> set[str]:
    """The names of all SCRAM users.

    Raises
    ------
    KafkaException
        Kafka does not answer, or refuses.
    """
    described = admin.describe_user_scram_credentials(request_timeout=CALL_DEADLINE_SECONDS)
    return set(described.result(CALL_DEADLINE_SECONDS))


def _in_force(admin: AdminClient, names: set[str], bindings: set[AclBinding]) -> bool:
    """The broker answers both from what it decides by."""
    if not names <= set(admin.list_topics(timeout=CALL_DEADLINE_SECONDS).topics):
        return False
    return bindings <= set(admin.describe_acls(EVERY_ACL).result(CALL_DEADLINE_SECONDS))
