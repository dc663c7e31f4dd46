"""Topics and ACLs, derived from `schemas/topics/*.yaml`."""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
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
)

SERVICES = ("dicom-ingest", "object-writer", "indexer", "gateway", "consult", "notification", "audit")
TOPICS_FOLDER = Path(__file__).parents[4] / "schemas" / "topics"
DEAD_LETTER_RETENTION_MS = 30 * 24 * 3600 * 1000
CALL_DEADLINE_SECONDS = 30
IN_FORCE_DEADLINE_SECONDS = 120
EVERY_ACL = AclBindingFilter(
    ResourceType.ANY, None, ResourcePatternType.ANY, None, None, AclOperation.ANY, AclPermissionType.ANY
)


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic to create."""

    name: str
    partitions: int
    config: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Acl:
    """What a principal may do; `prefix` for all names that begin so."""

    principal: str
    resource: str
    name: str
    operation: str
    prefix: bool = False


def load_specifications(folder: Path = TOPICS_FOLDER) -> list[dict[str, Any]]:
    """The topics' files."""
    return [yaml.safe_load(path.read_text()) for path in sorted(folder.glob("*.yaml"))]


def edge_principal(hospital: str) -> str:
    """The Kafka user of a hospital's edge agent."""
    return f"edge-{hospital}"


def ehr_principal(organisation: str) -> str:
    """The Kafka user of an organisation's EHR."""
    return f"ehr-{organisation}"


def plan(
    specifications: list[dict[str, Any]], hospitals: list[str], organisations: list[str]
) -> tuple[list[Topic], list[Acl]]:
    """Topics and ACLs for these hospitals and organisations.

    A producer may write, a consumer may read the topic, read in its own group and write to its dead letters; nobody
    may do anything else. On a topic of a hospital or organisation only that one's agent or EHR is meant.
    """
    topics: list[Topic] = []
    acls: list[Acl] = []
    for spec in specifications:
        for name, owner in _expand(spec["name"], hospitals, organisations):
            config = (("cleanup.policy", spec["cleanup_policy"]), ("retention.ms", str(spec["retention_ms"])))
            topics.append(Topic(name, spec["partitions"], config))
            for producer in _principals(spec["producers"], owner, hospitals, organisations):
                acls += [Acl(producer, "topic", name, operation) for operation in ("WRITE", "DESCRIBE")]
            for consumer in spec["consumers"]:
                for principal in _principals([consumer], owner, hospitals, organisations):
                    acls += [Acl(principal, "topic", name, operation) for operation in ("READ", "DESCRIBE")]
                    if consumer == "ehr":
                        continue
                    dead = f"{name}-dlq-{consumer}"
                    topics.append(Topic(dead, 1, (("retention.ms", str(DEAD_LETTER_RETENTION_MS)),)))
                    acls += [Acl(principal, "topic", dead, operation) for operation in ("WRITE", "DESCRIBE")]
    acls += [Acl(service, "group", service, "READ") for service in SERVICES]
    acls += [Acl(edge_principal(h), "group", f"edge-agent-{h}", "READ") for h in hospitals]
    acls += [Acl(ehr_principal(o), "group", ehr_principal(o), "READ", prefix=True) for o in organisations]
    return list(dict.fromkeys(topics)), list(dict.fromkeys(acls))


def _expand(template: str, hospitals: list[str], organisations: list[str]) -> list[tuple[str, str]]:
    if "<hospital>" in template:
        return [(template.replace("<hospital>", h), edge_principal(h)) for h in hospitals]
    if "<organisation>" in template:
        return [(template.replace("<organisation>", o), ehr_principal(o)) for o in organisations]
    return [(template, "")]


def _principals(names: list[str], owner: str, hospitals: list[str], organisations: list[str]) -> list[str]:
    principals: list[str] = []
    for name in names:
        if name == "*":
            principals += [*SERVICES, *map(edge_principal, hospitals)]
        elif name == "edge-agent":
            principals += [owner] if owner else [edge_principal(h) for h in hospitals]
        elif name == "ehr":
            principals += [owner] if owner else [ehr_principal(o) for o in organisations]
        else:
            principals.append(name)
    return principals


def apply(admin: AdminClient, topics: list[Topic], acls: list[Acl]) -> None:
    """Create topics and ACLs, and return when they are in force; what is there already stays.

    The controller acknowledges before the broker knows: until it does, everybody is refused.
    """
    new = [NewTopic(t.name, num_partitions=t.partitions, replication_factor=1, config=dict(t.config)) for t in topics]
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


def _in_force(admin: AdminClient, names: set[str], bindings: set[AclBinding]) -> bool:
    """The broker answers both from what it decides by."""
    if not names <= set(admin.list_topics(timeout=CALL_DEADLINE_SECONDS).topics):
        return False
    return bindings <= set(admin.describe_acls(EVERY_ACL).result(CALL_DEADLINE_SECONDS))


async def apply_async(bootstrap: str, password: str, topics: list[Topic], acls: list[Acl]) -> None:
    """`apply`, off the event loop, as the Kafka user `admin`."""
    admin = AdminClient(
        {
            "bootstrap.servers": bootstrap,
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": "admin",
            "sasl.password": password,
        }
    )
    await asyncio.to_thread(apply, admin, topics, acls)
