"""Makes topics, permissions and users at Kafka. Blocking: off the event loop only."""

import time
from collections.abc import Sequence

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


def connect(bootstrap: str, user: str, password: str) -> AdminClient:
    """An administrator's connection (SASL/SCRAM-SHA-512)."""
    return AdminClient(
        {
            "bootstrap.servers": bootstrap,
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": user,
            "sasl.password": password,
            "socket.connection.setup.timeout.ms": 10_000,
            "log_level": 2,
        }
    )


def apply(admin: AdminClient, topics: Sequence[Topic], acls: Sequence[Acl], *, replication: int = 1) -> None:
    """Create topics and permissions, and return when they are in force; what is there already stays.

    The controller acknowledges before the broker knows: until it does, everybody is refused.

    Raises
    ------
    KafkaException
        Kafka does not answer, or refuses.
    RuntimeError
        They were not in force after two minutes.
    """
    new = [
        NewTopic(t.name, num_partitions=t.partitions, replication_factor=replication, config=dict(t.config))
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
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, SCRAM_ITERATIONS)
    change = UserScramCredentialUpsertion(user, info, password.encode())
    for future in admin.alter_user_scram_credentials([change], request_timeout=CALL_DEADLINE_SECONDS).values():
        future.result(CALL_DEADLINE_SECONDS)


def _in_force(admin: AdminClient, names: set[str], bindings: set[AclBinding]) -> bool:
    """The broker answers both from what it decides by."""
    if not names <= set(admin.list_topics(timeout=CALL_DEADLINE_SECONDS).topics):
        return False
    return bindings <= set(admin.describe_acls(EVERY_ACL).result(CALL_DEADLINE_SECONDS))
