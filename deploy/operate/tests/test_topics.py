"""ACLs come from the topics' files: who may write and read what, and nothing else."""

from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from imaging_common.messaging import administration
from imaging_common.messaging.administration import apply
from imaging_common.messaging.permissions import ONBOARDING, OPERATIONS, Acl
from imaging_operate.topology import kafka_plan

HOSPITALS = ["community", "secondary"]


def acls() -> set[Acl]:
    return set(kafka_plan(HOSPITALS, ["residents"])[1])


def may(principal: str, operation: str, topic: str) -> bool:
    return Acl(principal, "topic", topic, operation) in acls()


def test_edge_agent_writes_only_to_its_own_hospitals_topic() -> None:
    assert may("edge-community", "WRITE", "edge-events-community")
    assert not may("edge-secondary", "WRITE", "edge-events-community")


def test_edge_agent_reads_only_its_own_commands() -> None:
    assert may("edge-community", "READ", "edge-commands-community")
    assert not may("edge-secondary", "READ", "edge-commands-community")


def test_ehr_reads_its_topic_and_writes_only_who_is_who() -> None:
    assert may("ehr-residents", "READ", "ehr-residents-events")
    writes = {acl.name for acl in acls() if acl.principal == "ehr-residents" and acl.operation == "WRITE"}
    assert writes == {"patient-linked", "resident-merged"}


def test_only_the_indexer_states_what_changed() -> None:
    writers = {acl.principal for acl in acls() if acl.name == "study-changed" and acl.operation == "WRITE"}
    assert writers == {"indexer", OPERATIONS}, "who replays writes back what the indexer wrote"


def test_who_replays_reads_nothing_but_dead_letters() -> None:
    read = {acl.name for acl in acls() if (acl.principal, acl.operation, acl.resource) == (OPERATIONS, "READ", "topic")}
    assert read
    assert all("-dlq-" in name for name in read)


def test_onboarding_makes_permissions_and_neither_reads_nor_writes() -> None:
    rights = {(acl.resource, acl.operation) for acl in acls() if acl.principal == ONBOARDING}
    assert rights == {("broker", "CREATE"), ("broker", "ALTER"), ("broker", "DESCRIBE"), ("topic", "DESCRIBE")}


def test_every_service_can_write_its_dead_letters_and_the_audit_trail() -> None:
    assert may("indexer", "WRITE", "instances-received-dlq-indexer")
    assert all(may(f"edge-{hospital}", "WRITE", "audit-recorded") for hospital in HOSPITALS)


def test_topics_are_created_once_each() -> None:
    topics, _ = kafka_plan(HOSPITALS, ["residents"])
    assert len({topic.name for topic in topics}) == len(topics)


class SlowBroker:
    """Acknowledges at once, and applies ACLs only after it was asked for them a few times."""

    def __init__(self, after: int) -> None:
        self.asked = 0
        self.new: list[Any] = []
        self._after = after
        self._names: list[str] = []
        self._bindings: list[Any] = []

    def create_topics(self, new: list[Any], **_: object) -> dict[str, "Future[None]"]:
        self.new = new
        self._names = [topic.topic for topic in new]
        return {name: _done(None) for name in self._names}

    def create_acls(self, bindings: list[Any]) -> dict[Any, "Future[None]"]:
        self._bindings = bindings
        return {binding: _done(None) for binding in bindings}

    def list_topics(self, timeout: float) -> Any:
        return SimpleNamespace(topics=dict.fromkeys(self._names))

    def describe_acls(self, _: object) -> "Future[list[Any]]":
        self.asked += 1
        return _done(self._bindings if self.asked > self._after else [])


def _done(value: Any) -> "Future[Any]":
    future: Future[Any] = Future()
    future.set_result(value)
    return future


def test_apply_returns_when_the_broker_enforces_the_acls() -> None:
    broker = SlowBroker(after=3)
    apply(broker, *kafka_plan(HOSPITALS, ["residents"]))
    assert broker.asked == 4


def test_apply_fails_when_the_acls_never_come_into_force(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(administration, "IN_FORCE_DEADLINE_SECONDS", 0)
    with pytest.raises(RuntimeError, match="not in force"):
        apply(SlowBroker(after=10), *kafka_plan(HOSPITALS, ["residents"]))


@pytest.mark.parametrize(("replicas", "in_sync"), [(1, None), (3, "2")])
def test_one_of_several_replicas_may_be_away(replicas: int, in_sync: str | None) -> None:
    broker = SlowBroker(after=0)
    apply(broker, *kafka_plan(HOSPITALS, []), replication=replicas)
    assert {topic.replication_factor for topic in broker.new} == {replicas}
    assert {topic.config.get("min.insync.replicas") for topic in broker.new} == {in_sync}


def test_folder_without_contracts_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"schemas/topics"):
        kafka_plan(HOSPITALS, [], tmp_path)
