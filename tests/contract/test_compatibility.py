"""`incompatibilities` finds every change that breaks a rolling upgrade, and no other."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from imaging_common.contracts import incompatibilities, schema_of
from imaging_common.events import EVENT_TYPES, StudyChanged

Schema = dict[str, Any]
OLD = schema_of(StudyChanged)


def changed(change: Callable[[Schema], None]) -> Schema:
    new = copy.deepcopy(OLD)
    change(new)
    return new


def add_required(schema: Schema) -> None:
    schema["properties"]["room"] = {"type": "string"}
    schema["required"].append("room")


def remove(schema: Schema) -> None:
    del schema["properties"]["stored"]
    schema["required"].remove("stored")


def make_optional(schema: Schema) -> None:
    schema["required"].remove("stored")


def make_required(schema: Schema) -> None:
    schema["required"].append("modalities")


def change_type(schema: Schema) -> None:
    schema["properties"]["stored"] = {"type": "string"}


def change_item_type(schema: Schema) -> None:
    schema["properties"]["modalities"]["items"] = {"type": "integer"}


def change_nested(schema: Schema) -> None:
    schema["$defs"]["Version"]["properties"]["n"] = {"type": "string"}


def add_nested_required(schema: Schema) -> None:
    schema["$defs"]["Version"]["properties"]["zone"] = {"type": "string"}
    schema["$defs"]["Version"]["required"].append("zone")


def drop_null(schema: Schema) -> None:
    schema["properties"]["settled_basis"] = {"type": "string"}


def add_value(schema: Schema) -> None:
    schema["properties"]["tier"]["enum"].append("glacier")


def tighten(schema: Schema) -> None:
    schema["properties"]["series_count"]["minimum"] = 5


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (add_required, "room: added and required"),
        (remove, "stored: removed"),
        (make_optional, "stored: may be absent now"),
        (make_required, "modalities: must be there now"),
        (change_type, "stored: type changed"),
        (change_item_type, "modalities[]: type changed"),
        (change_nested, "version.n: type changed"),
        (add_nested_required, "version.zone: added and required"),
        (drop_null, "settled_basis: type changed"),
        (add_value, "tier: other values"),
        (tighten, "series_count: minimum changed"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_breaking_change_is_found(change: Callable[[Schema], None], finding: str) -> None:
    assert finding in incompatibilities(OLD, changed(change))


def add_optional(schema: Schema) -> None:
    schema["properties"]["room"] = {"type": "string", "default": ""}


def reword(schema: Schema) -> None:
    schema["description"] = "Other words."
    schema["properties"]["stored"]["description"] = "Other words."
    schema["properties"]["stored"]["title"] = "Other"


@pytest.mark.parametrize("change", [add_optional, reword], ids=lambda change: change.__name__)
def test_compatible_change_is_let_through(change: Callable[[Schema], None]) -> None:
    assert incompatibilities(OLD, changed(change)) == []


@pytest.mark.parametrize("name", sorted(EVENT_TYPES))
def test_unchanged_event_is_compatible_with_itself(name: str) -> None:
    assert incompatibilities(schema_of(EVENT_TYPES[name]), schema_of(EVENT_TYPES[name])) == []
