"""The AsyncAPI 3.0 document of the region, from the topics and the event types."""

import re
from typing import Any

import yaml

from imaging_common.contracts.topics import TopicContract
from imaging_common.events import EVENT_TYPES

HEADERS = {
    "ce_specversion": "CloudEvents version, 1.0.",
    "ce_id": "Unique per event; the same event again has the same id.",
    "ce_type": "The event type: the name of its schema.",
    "ce_source": "The service that wrote it, `/imaging/<service>`.",
    "ce_time": "When it was written, RFC 3339.",
    "content-type": "application/json",
}


def render_asyncapi(topics: list[TopicContract]) -> str:
    """Return the document as YAML."""
    document = {
        "asyncapi": "3.0.0",
        "id": "urn:imaging:region",
        "info": {
            "title": "Regional imaging cloud",
            "version": "1.0.0",
            "description": "Events on Kafka: CloudEvents 1.0 in binary mode. Generated from topics/*.yaml and the "
            "models by `python -m imaging_common.contracts export`; do not edit.",
        },
        "defaultContentType": "application/json",
        "servers": {
            "kafka": {
                "host": "{host}",
                "protocol": "kafka-secure",
                "description": "SASL/SCRAM-SHA-512; access lists are derived from topics/*.yaml.",
                "variables": {"host": {"description": "Bootstrap address.", "default": "127.0.0.1:9092"}},
                "security": [{"$ref": "#/components/securitySchemes/scram"}],
            }
        },
        "channels": {_channel_id(topic): _channel(topic) for topic in topics},
        "operations": dict(operation for topic in topics for operation in _operations(topic)),
        "components": {
            "securitySchemes": {"scram": {"type": "scramSha512"}},
            "messages": {name: _message(name) for name in EVENT_TYPES},
            "messageTraits": {"cloudEvent": {"headers": _headers()}},
        },
    }
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)


def _channel_id(topic: TopicContract) -> str:
    return re.sub(r"<([a-z]+)>", r"by-\1", topic.name)


def _channel(topic: TopicContract) -> dict[str, Any]:
    parameters = re.findall(r"<([a-z]+)>", topic.name)
    channel: dict[str, Any] = {
        "address": re.sub(r"<([a-z]+)>", r"{\1}", topic.name),
        "description": f"{topic.description} Key: {topic.key}. Owner: {topic.owner}.",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in topic.events},
        "bindings": {
            "kafka": {
                "partitions": topic.partitions,
                "topicConfiguration": {
                    "cleanup.policy": [topic.cleanup_policy],
                    "retention.ms": topic.retention_ms,
                },
            }
        },
        "x-personal-data": topic.personal_data,
    }
    if parameters:
        channel["parameters"] = {name: {"description": f"Id of the {name}."} for name in parameters}
    return channel


def _operations(topic: TopicContract) -> list[tuple[str, dict[str, Any]]]:
    channel = _channel_id(topic)
    reference = {"$ref": f"#/channels/{channel}"}
    return [
        *(
            (f"{who}-sends-to-{channel}", {"action": "send", "channel": reference, "tags": [{"name": who}]})
            for who in topic.writers
        ),
        *(
            (f"{who}-receives-from-{channel}", {"action": "receive", "channel": reference, "tags": [{"name": who}]})
            for who in topic.consumers
        ),
    ]


def _message(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "title": name,
        "summary": (EVENT_TYPES[name].__doc__ or "").strip().split("\n")[0],
        "contentType": "application/json",
        "traits": [{"$ref": "#/components/messageTraits/cloudEvent"}],
        "payload": {
            "schemaFormat": "application/schema+json;version=draft-2020-12",
            "schema": {"$ref": f"../events/{name}/v1.json"},
        },
    }


def _headers() -> dict[str, Any]:
    properties = {name: {"type": "string", "description": text} for name, text in HEADERS.items()}
    properties["traceparent"] = {"type": "string", "description": "W3C Trace Context; may be absent."}
    return {"type": "object", "required": list(HEADERS), "properties": properties}
