"""Append a record to its stream's chain, let an auditor read, and walk the chains."""

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

from audit.model import Break, Head, Link, RecordQuery, check_link
from audit.ports import RecordStore
from imaging_common.audit import Outcome
from imaging_common.auth import Claims
from imaging_common.events import AuditRecorded

SERVICE = "audit"


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What a walk over all chains found."""

    heads: dict[str, Head]
    """How far each chain holds; who keeps these elsewhere can prove later that nothing before was rewritten."""
    breaks: list[Break]

    @property
    def count(self) -> int:
        """Records that hold."""
        return sum(head.seq for head in self.heads.values())


async def append_record(store: RecordStore, event: AuditRecorded) -> bool:
    """Append the record once; whether it was new."""
    return await store.append(event.service, event.model_dump(mode="json"))


async def read_records(
    store: RecordStore, reader: Claims, query: RecordQuery, limit: int, offset: int
) -> tuple[list[Link], bool]:
    """Links that match, the newest first, and if there are more. The look itself goes into the record before."""
    found = await store.search(query, limit + 1, offset)
    page = found[:limit]
    await note_look(store, reader, "success", count=len(page), study_uid=query.study_uid)
    return page, len(found) > limit


async def note_look(
    store: RecordStore,
    reader: Claims,
    outcome: Outcome,
    *,
    reason: str = "",
    count: int = 0,
    study_uid: str | None = None,
) -> None:
    """Record that somebody read the audit record, or was not let in (PS3.15 A.5.3.2, Audit Log Used)."""
    look = AuditRecorded(
        audit_id=uuid4().hex,
        service=SERVICE,
        action="search",
        outcome=outcome,
        reason=reason,
        user=reader.user,
        hospital=reader.hospital,
        study_uid=study_uid,
        count=count,
        at=datetime.now(UTC),
    )
    await append_record(store, look)


async def verify_chains(store: RecordStore) -> Outcomes:
    """Walk every chain from its beginning to its head; records may be appended meanwhile."""
    heads: dict[str, Head] = {}
    breaks: list[Break] = []
    for stream, noted in sorted((await store.heads()).items()):
        heads[stream], broken = await _walk(store, stream, noted)
        if broken:
            breaks.append(broken)
    return Outcomes(heads, breaks)


async def _walk(store: RecordStore, stream: str, noted: Head) -> tuple[Head, Break | None]:
    at = Head()
    async for link in store.chain(stream):
        if broken := check_link(stream, link, at):
            return at, broken
        at = Head(link["seq"], link["hash"])
        if at.seq == noted.seq and at != noted:
            return Head(at.seq - 1, link["prev_hash"]), Break(stream, at.seq, "it is not the record that was written")
    if at.seq < noted.seq:
        return at, Break(stream, at.seq + 1, "the end of the chain is missing")
    if at.seq > noted.seq and (await store.heads()).get(stream, Head()).seq < at.seq:
        return noted, Break(stream, noted.seq + 1, "it was added without the service")
    return at, None
