"""Statements, entries and jobs as documents."""

from typing import Any

from imaging_common.events import EVENT_TYPES
from notification.feed.model import FeedEntry, Organisation, Snapshot, Statement

Document = dict[str, Any]


def statement_document(statement: Statement, was: str | None) -> Document:
    """For `latest`; `was`: the resident before this statement."""
    return {
        "_id": statement.aggregate,
        "event_id": statement.event_id,
        "type": statement.event.type_name(),
        "key": statement.key,
        "data": statement.event.model_dump_json(),
        "traceparent": statement.traceparent,
        "order": list(statement.order),
        "studies": list(statement.studies),
        "resident": statement.resident,
        "was": was,
    }


def statement_of(document: Document) -> Statement:
    """A statement as it came."""
    event = EVENT_TYPES[document["type"]].model_validate_json(document["data"])
    return Statement(event, document["event_id"], document["key"], document["traceparent"])


def entry_of(document: Document) -> FeedEntry:
    """An entry of a feed."""
    return FeedEntry(
        organisation=document["organisation"],
        seq=document["seq"],
        at=document["at"],
        event_id=document["event_id"],
        event_type=document["type"],
        key=document["key"],
        data=document["data"],
        traceparent=document["traceparent"],
    )


def organisation_document(organisation: Organisation) -> Document:
    """An organisation."""
    return {"_id": organisation.id, "hospitals": sorted(organisation.hospitals), "revision": organisation.revision}


def organisation_of(document: Document) -> Organisation:
    """An organisation."""
    return Organisation(id=document["_id"], hospitals=document["hospitals"], revision=document["revision"])


def snapshot_document(job: Snapshot) -> Document:
    """A job."""
    before = None if job.before is None else sorted(job.before)
    return {"_id": job.id, **job.model_dump(exclude={"id", "before"}), "before": before}


def snapshot_of(document: Document) -> Snapshot:
    """A job."""
    return Snapshot.model_validate({**document, "id": document["_id"]})
