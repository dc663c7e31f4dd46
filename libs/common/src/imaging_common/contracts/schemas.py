"""JSON Schemas (2020-12) and examples of all event types, as texts ready to be written."""

import json
from pathlib import Path
from typing import Any

from imaging_common.contracts.asyncapi import render_asyncapi
from imaging_common.contracts.examples import EXAMPLES
from imaging_common.contracts.topics import load_topics
from imaging_common.events import EVENT_TYPES, Event

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema_of(model: type[Event]) -> dict[str, Any]:
    """The JSON Schema of an event's data, as a reader must take it."""
    schema = model.model_json_schema(mode="validation")
    return {"$schema": DIALECT, "$id": f"urn:imaging:event:{model.type_name()}:v1", **schema}


def render_all(topics_folder: Path) -> dict[str, str]:
    """Path below `schemas/` → text, of every generated file."""
    files = {f"events/{name}/v1.json": _json(schema_of(model)) for name, model in EVENT_TYPES.items()}
    files |= {
        f"examples/{event.type_name()}.json": _json(event.model_dump(mode="json", exclude_none=True))
        for event in EXAMPLES
    }
    files["asyncapi/region.yaml"] = render_asyncapi(load_topics(topics_folder))
    return files


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
