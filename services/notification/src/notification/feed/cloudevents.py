"""A feed's entry as a CloudEvent 1.0: a Kafka record (binary mode) and a JSON document (structured mode)."""

import json
from datetime import UTC
from typing import Any

from notification.feed.model import FeedEntry

SOURCE = "/imaging/notification"
CONTENT_TYPE = "application/json"
STRUCTURED = "application/cloudevents+json"
Headers = list[tuple[str, bytes]]


def sequence(seq: int) -> str:
    """The attribute `sequence` (CloudEvents extension "Sequence"): as text it sorts as the numbers do."""
    return f"{seq:020d}"


def record(entry: FeedEntry) -> tuple[bytes, bytes | None, Headers]:
    """Value, key and headers of its Kafka record; the same at every repetition."""
    headers = [
        ("ce_specversion", "1.0"),
        ("ce_id", entry.event_id),
        ("ce_type", entry.event_type),
        ("ce_source", SOURCE),
        ("ce_time", entry.at.astimezone(UTC).isoformat()),
        ("ce_sequence", sequence(entry.seq)),
        ("content-type", CONTENT_TYPE),
    ]
    return entry.data.encode(), entry.key.encode() or None, [(name, text.encode()) for name, text in headers]


def document(entry: FeedEntry) -> dict[str, Any]:
    """The structured mode: `partitionkey` is the record's key (extension "Partitioning")."""
    context: dict[str, Any] = {
        "specversion": "1.0",
        "id": entry.event_id,
        "type": entry.event_type,
        "source": SOURCE,
        "time": entry.at.astimezone(UTC).isoformat(),
        "sequence": sequence(entry.seq),
        "partitionkey": entry.key,
        "datacontenttype": CONTENT_TYPE,
    }
    if entry.traceparent:
        context["traceparent"] = entry.traceparent
    return {**context, "data": json.loads(entry.data)}
