"""ACLs come from the topics' files: who may write and read what, and nothing else."""

from imaging_native.topics import Acl, load_specifications, plan

HOSPITALS = ["community", "secondary"]


def acls() -> set[Acl]:
    return set(plan(load_specifications(), HOSPITALS, ["residents"])[1])


def may(principal: str, operation: str, topic: str) -> bool:
    return Acl(principal, "topic", topic, operation) in acls()


def test_edge_agent_writes_only_to_its_own_hospitals_topic() -> None:
    assert may("edge-community", "WRITE", "edge-events-community")
    assert not may("edge-secondary", "WRITE", "edge-events-community")


def test_edge_agent_reads_only_its_own_commands() -> None:
    assert may("edge-community", "READ", "edge-commands-community")
    assert not may("edge-secondary", "READ", "edge-commands-community")


def test_ehr_reads_its_topic_and_writes_nowhere() -> None:
    assert may("ehr-residents", "READ", "ehr-residents-events")
    assert not [acl for acl in acls() if acl.principal == "ehr-residents" and acl.operation == "WRITE"]


def test_only_the_indexer_states_what_changed() -> None:
    writers = {acl.principal for acl in acls() if acl.name == "study-changed" and acl.operation == "WRITE"}
    assert writers == {"indexer"}


def test_every_service_can_write_its_dead_letters_and_the_audit_trail() -> None:
    assert may("indexer", "WRITE", "instances-received-dlq-indexer")
    assert all(may(f"edge-{hospital}", "WRITE", "audit-recorded") for hospital in HOSPITALS)


def test_topics_are_created_once_each() -> None:
    topics, _ = plan(load_specifications(), HOSPITALS, ["residents"])
    assert len({topic.name for topic in topics}) == len(topics)
