"""The release in use and today's services run together: each reads what the other writes (docs/decisions/0009)."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from jsonschema import Draft202012Validator

from imaging_common.contracts import TopicContract, load_topics, schema_of
from imaging_common.contracts.__main__ import BASELINE, SCHEMAS
from imaging_common.contracts.baseline import broken_since, topic_changes
from imaging_common.errors import BadMessage
from imaging_common.events import EVENT_TYPES, Event
from imaging_common.messaging.cloudevents import read_envelope, read_event, to_record

OLD = sorted(path.stem for path in BASELINE.glob("*.json"))
TOPIC = load_topics(BASELINE / "topics")[0]
FUTURE_FIELD = "added_by_the_next_release"


def load(path: Path) -> Any:
    return json.loads(path.read_text())


def with_future_fields(value: Any) -> Any:
    """The same message, with a field that today's readers do not know in every object of it."""
    if isinstance(value, dict):
        return {name: with_future_fields(inner) for name, inner in value.items()} | {FUTURE_FIELD: {"deep": [1]}}
    return [with_future_fields(inner) for inner in value] if isinstance(value, list) else value


def as_record(name: str, data: Any) -> SimpleNamespace:
    """A record as the writer of another release puts it on a topic."""
    _, headers = to_record(Event(), "test", uuid4().hex, None)
    headers = [(key, name.encode() if key == "ce_type" else value) for key, value in headers]
    return SimpleNamespace(topic="t", partition=0, key=b"k", value=json.dumps(data).encode(), headers=headers)


def test_nothing_changed_so_that_old_and_new_services_cannot_run_together() -> None:
    assert broken_since(BASELINE, SCHEMAS / "topics") == [], "see docs/decisions/0009-upgrades.md"


def test_baseline_holds_an_example_of_every_event_type() -> None:
    assert sorted(path.stem for path in (BASELINE / "examples").glob("*.json")) == OLD


@pytest.mark.parametrize("name", OLD)
def test_todays_reader_understands_what_the_old_writer_says(name: str) -> None:
    old = load(BASELINE / "examples" / f"{name}.json")
    record = as_record(name, old)
    read = read_event(record, read_envelope(record))
    assert read.model_dump(mode="json", exclude_none=True).items() >= old.items()


@pytest.mark.parametrize("name", OLD)
def test_old_reader_understands_what_todays_writer_says(name: str) -> None:
    new = load(SCHEMAS / "examples" / f"{name}.json")
    old_schema = load(BASELINE / f"{name}.json")
    Draft202012Validator(old_schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(new)


@pytest.mark.parametrize("name", sorted(EVENT_TYPES))
def test_reader_passes_over_the_fields_of_the_next_release(name: str) -> None:
    data = load(SCHEMAS / "examples" / f"{name}.json")
    future = with_future_fields(data)
    Draft202012Validator(schema_of(EVENT_TYPES[name])).validate(future)
    record = as_record(name, future)
    assert read_event(record, read_envelope(record)) == EVENT_TYPES[name].model_validate(data)


def test_event_type_of_the_next_release_goes_to_the_dead_letters_by_that_reason() -> None:
    record = as_record("InventedByTheNextRelease", {})
    with pytest.raises(BadMessage) as refused:
        read_event(record, read_envelope(record))
    assert refused.value.reason == "unknown-type"


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        ({"key": "another"}, "key changed"),
        ({"partitions": TOPIC.partitions + 1}, "partitions changed"),
        ({"cleanup_policy": "compact" if TOPIC.cleanup_policy == "delete" else "delete"}, "cleanup_policy changed"),
        ({"events": ["Another"]}, f"event type {TOPIC.events[0]} is not on it any more"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_breaking_change_of_a_topic_is_found(change: dict[str, Any], finding: str) -> None:
    assert finding in topic_changes(TOPIC, TOPIC.model_copy(update=change))


def test_topic_that_is_gone_is_found() -> None:
    assert topic_changes(TOPIC, None) == ["the topic is gone"]


def test_topic_may_get_further_events_readers_and_writers() -> None:
    more: dict[str, Any] = {"events": [*TOPIC.events, "Another"], "consumers": [*TOPIC.consumers, "audit"]}
    after: TopicContract = TOPIC.model_copy(update=more)
    assert topic_changes(TOPIC, after) == []
