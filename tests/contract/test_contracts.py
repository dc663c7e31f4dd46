"""The contracts in `schemas/`: no drift, no orphans, examples that validate, producers and consumers that exist."""

import json
import re
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from imaging_common.contracts import SERVICES, TopicContract, load_topics
from imaging_common.contracts.__main__ import SCHEMAS, stale_files
from imaging_common.contracts.topics import EVERYBODY, OUTSIDE_READERS, OUTSIDE_WRITERS
from imaging_common.events import EVENT_TYPES

ROOT = SCHEMAS.parent
TOPICS = load_topics(SCHEMAS / "topics")


def schema(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((SCHEMAS / "events" / name / "v1.json").read_text())
    return loaded


def test_schemas_are_what_the_models_say() -> None:
    assert stale_files(SCHEMAS) == [], "run `make schemas`"


@pytest.mark.parametrize("name", sorted(EVENT_TYPES))
def test_example_validates_against_schema_and_model(name: str) -> None:
    text = (SCHEMAS / "examples" / f"{name}.json").read_text()
    Draft202012Validator.check_schema(schema(name))
    Draft202012Validator(schema(name), format_checker=Draft202012Validator.FORMAT_CHECKER).validate(json.loads(text))
    assert EVENT_TYPES[name].model_validate_json(text).model_dump(mode="json", exclude_none=True) == json.loads(text)


@pytest.mark.parametrize("name", sorted(EVENT_TYPES))
def test_every_field_is_described(name: str) -> None:
    whole = schema(name)
    for part in (whole, *whole.get("$defs", {}).values()):
        for field, about in part.get("properties", {}).items():
            assert about.get("description"), f"{part.get('title')}.{field}"


def test_every_event_type_is_on_a_topic_and_every_topic_event_is_a_type() -> None:
    assert {event for topic in TOPICS for event in topic.events} == set(EVENT_TYPES)


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_topic_names_only_services_that_exist(topic: TopicContract) -> None:
    folders = {path.name for path in (ROOT / "services").iterdir() if path.is_dir()}
    assert folders == SERVICES
    assert topic.owner in SERVICES
    assert set(topic.writers) <= SERVICES | OUTSIDE_WRITERS
    assert set(topic.consumers) <= SERVICES | OUTSIDE_READERS
    assert topic.owner in topic.writers or topic.producers == [EVERYBODY]
    assert len(set(topic.events)) == len(topic.events)
    assert "_" not in topic.name
    assert "-dlq-" not in topic.name


def test_file_is_named_as_its_topic() -> None:
    for path in (SCHEMAS / "topics").glob("*.yaml"):
        name = yaml.safe_load(path.read_text())["name"]
        assert re.sub(r"<[a-z]+>-|-<[a-z]+>", "", name) == path.stem


def test_compacted_topics_are_kept_forever() -> None:
    assert all((topic.cleanup_policy == "compact") == (topic.retention_ms == -1) for topic in TOPICS)


def test_asyncapi_references_resolve() -> None:
    path = SCHEMAS / "asyncapi" / "region.yaml"
    document = yaml.safe_load(path.read_text())
    assert len(document["channels"]) == len(TOPICS)
    for reference in references(document):
        target, _, pointer = reference.partition("#")
        found: Any = json.loads((path.parent / target).read_text()) if target else document
        for step in filter(None, pointer.split("/")):
            found = found[step]
        assert found


def references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [found for value in node.values() for found in references(value)]
    return [found for value in node for found in references(value)] if isinstance(node, list) else []
