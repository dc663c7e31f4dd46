"""Topics, and who may do what with them: derived from `schemas/topics/*.yaml` for given hospitals and organisations.

A producer may write, a consumer may read the topic, read in its own group and write to its dead letters; nobody may do
anything else. Besides there are two principals of the gateway: `onboarding` makes topics, users and permissions for a
new hospital, `operations` reads dead letters and writes them back to their source.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from imaging_common.contracts.topics import EVERYBODY, TopicContract
from imaging_common.messaging.topics import dead_letter_topic

SERVICES = ("dicom-ingest", "object-writer", "indexer", "gateway", "consult", "notification", "audit")
ONBOARDING = "onboarding"
OPERATIONS = "operations"
REPLAY_GROUPS = "replay-"
CLUSTER = "kafka-cluster"
DEAD_LETTER_RETENTION_MS = 30 * 24 * 3600 * 1000


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


def edge_principal(hospital: str) -> str:
    """The Kafka user of a hospital's edge agent, and its client at the identity provider."""
    return f"edge-{hospital}"


def ehr_principal(organisation: str) -> str:
    """The Kafka user of an organisation's EHR."""
    return f"ehr-{organisation}"


def plan(
    contracts: Iterable[TopicContract], hospitals: list[str], organisations: list[str]
) -> tuple[list[Topic], list[Acl]]:
    """Topics and permissions for these hospitals and organisations.

    On a topic of a hospital or organisation only that one's agent or EHR is meant. To add a hospital, plan for it
    alone: what was there already comes again, and nothing is taken away.
    """
    topics: list[Topic] = []
    acls: list[Acl] = []
    for contract in contracts:
        for name, owner in _expand(contract.name, hospitals, organisations):
            config = (("cleanup.policy", contract.cleanup_policy), ("retention.ms", str(contract.retention_ms)))
            topics.append(Topic(name, contract.partitions, config))
            for producer in _principals(contract.producers, owner, hospitals, organisations):
                acls += [Acl(producer, "topic", name, operation) for operation in ("WRITE", "DESCRIBE")]
            acls += [Acl(OPERATIONS, "topic", name, operation) for operation in ("WRITE", "DESCRIBE")]
            for consumer in contract.consumers:
                dead = dead_letter_topic(name, consumer)
                for principal in _principals([consumer], owner, hospitals, organisations):
                    acls += [Acl(principal, "topic", name, operation) for operation in ("READ", "DESCRIBE")]
                    if consumer == "ehr":
                        continue
                    topics.append(Topic(dead, 1, (("retention.ms", str(DEAD_LETTER_RETENTION_MS)),)))
                    acls += [Acl(principal, "topic", dead, operation) for operation in ("WRITE", "DESCRIBE")]
                    acls += [Acl(OPERATIONS, "topic", dead, operation) for operation in ("READ", "DESCRIBE")]
    acls += [Acl(service, "group", service, "READ") for service in SERVICES]
    acls += [Acl(edge_principal(h), "group", f"edge-agent-{h}", "READ") for h in hospitals]
    acls += [Acl(ehr_principal(o), "group", ehr_principal(o), "READ", prefix=True) for o in organisations]
    acls += [Acl(OPERATIONS, "group", REPLAY_GROUPS, operation, prefix=True) for operation in ("READ", "DESCRIBE")]
    acls += [Acl(ONBOARDING, "broker", CLUSTER, operation) for operation in ("CREATE", "ALTER", "DESCRIBE")]
    acls.append(Acl(ONBOARDING, "topic", "*", "DESCRIBE"))
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
        if name == EVERYBODY:
            principals += [*SERVICES, *map(edge_principal, hospitals)]
        elif name == "edge-agent":
            principals += [owner] if owner else [edge_principal(h) for h in hospitals]
        elif name == "ehr":
            principals += [owner] if owner else [ehr_principal(o) for o in organisations]
        else:
            principals.append(name)
    return principals
