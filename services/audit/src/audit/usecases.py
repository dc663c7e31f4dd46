"""Append a record to its stream's chain, let an auditor read and export, anchor the heads, walk the chains."""

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import uuid4

from audit.model import Anchor, Break, Head, Link, Position, RecordQuery, check_link
from audit.ports import AnchorVault, RecordStore
from audit.summary import Looker
from imaging_common.audit import Action, Outcome, who
from imaging_common.auth import Claims
from imaging_common.events import AuditRecorded

SERVICE = "audit"
EXPORT_PAGE = 500


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What a walk over all chains found."""

    heads: dict[str, Head]
    """How far each chain holds; who keeps these elsewhere can prove later that nothing before was rewritten."""
    breaks: list[Break]
    anchors: int = 0
    """Anchors that were compared."""

    @property
    def count(self) -> int:
        """Records that hold."""
        return sum(head.seq for head in self.heads.values())


async def append_record(store: RecordStore, event: AuditRecorded, stream: str) -> bool:
    """Append the record once; whether it was new."""
    return await store.append(stream, event.model_dump(mode="json"))


async def read_records(
    store: RecordStore, reader: Claims, query: RecordQuery, limit: int, offset: int
) -> tuple[list[Link], bool]:
    """Links that match, the newest first, and if there are more. The look itself goes into the record before."""
    found = await store.search(query, limit + 1, offset)
    page = found[:limit]
    await note_look(store, reader, "success", count=len(page), query=query)
    return page, len(found) > limit


async def read_summary(store: RecordStore, reader: Claims, query: RecordQuery) -> tuple[list[Looker], bool]:
    """Who looked, of the records that match; and if there are more people. The look itself is recorded before."""
    people, more = await store.summary(query)
    await note_look(store, reader, "success", reason="summary", count=len(people), query=query)
    return people, more


async def export_records(store: RecordStore, reader: Claims, query: RecordQuery) -> AsyncIterator[Link]:
    """All links that match, the newest first, page by page; that they leave is recorded before the first does."""
    await note_look(store, reader, "success", action="export", query=query)

    async def links() -> AsyncIterator[Link]:
        page = await store.search(query, EXPORT_PAGE, 0)
        while page:
            for link in page:
                yield link
            page = await store.search(replace(query, after=Position.of(page[-1])), EXPORT_PAGE, 0)

    return links()


async def anchor_heads(store: RecordStore, vault: AnchorVault, now: datetime, interval_seconds: float) -> bool | None:
    """Keep the heads of all chains outside the database, once an interval of the clock; whether this was the first.

    None: there is no record yet.
    """
    begin = datetime.fromtimestamp(now.timestamp() // interval_seconds * interval_seconds, UTC)
    heads = {stream: head for stream, head in (await store.heads()).items() if head.seq}
    return await vault.keep(f"{begin:%Y/%m/%d/%H%M%S}", Anchor(now, heads)) if heads else None


async def note_look(
    store: RecordStore,
    reader: Claims,
    outcome: Outcome,
    *,
    action: Action = "search",
    reason: str = "",
    count: int = 0,
    query: RecordQuery = RecordQuery(),
) -> None:
    """Record that somebody read the audit record, or was not let in (PS3.15 A.5.3.2, Audit Log Used)."""
    look = AuditRecorded(
        audit_id=uuid4().hex,
        service=SERVICE,
        action=action,
        outcome=outcome,
        reason=reason,
        **(who(reader) | {"roles": sorted(reader.roles)}),
        study_uid=query.study_uid,
        resident_id=query.residents[0] if query.residents else None,
        count=count,
        at=datetime.now(UTC),
    )
    await append_record(store, look, SERVICE)


async def verify_chains(store: RecordStore, vault: AnchorVault) -> Outcomes:
    """Walk every chain from its beginning to its head, past every anchor; records may be appended meanwhile."""
    heads: dict[str, Head] = {}
    breaks: list[Break] = []
    anchored: dict[str, dict[int, str]] = defaultdict(dict)
    count = 0
    async for anchor in vault.all():
        count += 1
        for stream, head in anchor.heads.items():
            anchored[stream][head.seq] = head.hash
    noted = await store.heads()
    for stream in sorted(noted.keys() | anchored.keys()):
        heads[stream], broken = await _walk(store, stream, noted.get(stream, Head()), anchored[stream])
        if broken:
            breaks.append(broken)
    return Outcomes(heads, breaks, count)


async def _walk(store: RecordStore, stream: str, noted: Head, anchored: Mapping[int, str]) -> tuple[Head, Break | None]:
    at = Head()
    async for link in store.chain(stream):
        if broken := check_link(stream, link, at):
            return at, broken
        if anchored.get(link["seq"], link["hash"]) != link["hash"]:
            return at, Break(stream, link["seq"], "it is not the record that was anchored: the chain was made anew")
        at = Head(link["seq"], link["hash"])
        if at.seq == noted.seq and at != noted:
            return Head(at.seq - 1, link["prev_hash"]), Break(stream, at.seq, "it is not the record that was written")
    if at.seq < max(anchored, default=0):
        return at, Break(stream, at.seq + 1, "records that were anchored are missing")
    if at.seq < noted.seq:
        return at, Break(stream, at.seq + 1, "the end of the chain is missing")
    if at.seq > noted.seq and (await store.heads()).get(stream, Head()).seq < at.seq:
        return noted, Break(stream, noted.seq + 1, "it was added without the service")
    return at, None
