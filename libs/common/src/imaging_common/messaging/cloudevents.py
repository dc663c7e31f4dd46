"""CloudEvents 1.0, Kafka protocol binding, binary mode: attributes in `ce_` headers, data as the value."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from pydantic import ValidationError

from imaging_common.errors import BadMessage
from imaging_common.events import EVENT_TYPES, Envelope, Event
from imaging_common.messaging.reading import UnreadableRecord

Headers = list[tuple[str, bytes]]
CONTENT_TYPE = "application/json"
_REQUIRED = ("ce_id", "ce_type", "ce_source", "ce_time", "ce_specversion")


def to_record(event: Event, source: str, event_id: str | None, traceparent: str | None) -> tuple[bytes, Headers]:
    """Return value and headers of the record that carries `event`."""
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", (event_id or uuid4().hex).encode()),
        ("ce_type", event.type_name().encode()),
        ("ce_source", f"/imaging/{source}".encode()),
        ("ce_time", datetime.now(UTC).isoformat().encode()),
        ("content-type", CONTENT_TYPE.encode()),
    ]
    if traceparent:
        headers.append(("traceparent", traceparent.encode()))
    return event.model_dump_json().encode(), headers


def decode_headers(headers: Iterable[tuple[str, bytes | None]]) -> dict[str, str]:
    """Return the headers as text.

    Raises
    ------
    BadMessage
        A header is not UTF-8 (reason `bad-header`).
    """
    try:
        return {name: (value or b"").decode() for name, value in headers}
    except UnicodeDecodeError as error:
        raise BadMessage("bad-header", "a header is not UTF-8") from error


def read_envelope(record: Any) -> Envelope:
    """Return the context attributes of a record (an `aiokafka.ConsumerRecord`).

    Raises
    ------
    BadMessage
        `unreadable`, `bad-header`, `missing-header`, `bad-key`.
    """
    if isinstance(record, UnreadableRecord):
        raise BadMessage("unreadable", "the record cannot be decoded; it is still in the source topic")
    headers = decode_headers(record.headers)
    missing = [name for name in _REQUIRED if not headers.get(name)]
    if missing:
        raise BadMessage("missing-header", f"no {', '.join(missing)}: not a CloudEvent in binary mode")
    if headers["ce_specversion"] != "1.0":
        raise BadMessage("bad-header", "ce_specversion is not 1.0")
    try:
        key = (record.key or b"").decode()
    except UnicodeDecodeError as error:
        raise BadMessage("bad-key", "the key is not UTF-8") from error
    try:
        return Envelope(
            id=headers["ce_id"],
            type=headers["ce_type"],
            source=headers["ce_source"],
            time=datetime.fromisoformat(headers["ce_time"]),
            topic=record.topic,
            partition=record.partition,
            key=key,
            traceparent=headers.get("traceparent"),
        )
    except (ValueError, ValidationError) as error:
        raise BadMessage("bad-header", "ce_time is not RFC 3339") from error


def read_event(record: Any, envelope: Envelope) -> Event:
    """Return the event that a record carries.

    Raises
    ------
    BadMessage
        `unknown-type`, `tombstone`, `bad-json`, `wrong-schema`.
    """
    model = EVENT_TYPES.get(envelope.type)
    if model is None:
        raise BadMessage("unknown-type", "ce_type is not among the contracts of this region")
    if record.value is None:
        raise BadMessage("tombstone", "the record has no value")
    try:
        return model.model_validate_json(record.value)
    except ValidationError as error:
        kinds = {detail["type"] for detail in error.errors(include_input=False, include_context=False)}
        if "json_invalid" in kinds:
            raise BadMessage("bad-json", "the value is not JSON") from None
        where = sorted({".".join(map(str, d["loc"])) for d in error.errors(include_input=False, include_context=False)})
        raise BadMessage(
            "wrong-schema", f"{envelope.type} does not fit its schema at: {', '.join(where)[:500]}"
        ) from None
