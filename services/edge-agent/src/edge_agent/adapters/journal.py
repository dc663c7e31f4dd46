"""The spool's journal: which instances were acknowledged, and how far each is on its way to the centre."""

import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

from edge_agent.adapters.database import Database, put_event
from edge_agent.model import Arrival, Outcome, SpooledInstance, State, Usage
from edge_agent.ports import BuildAnnouncement, OutgoingEvent
from imaging_common.events import EVENT_TYPES, ManifestEntry, RejectedEntry

_NEXT_IN_RING = "SELECT coalesce(max(stored_order), 0) + 1 FROM instances WHERE state = 'stored' AND on_disk = 1"
_INSTANCE = "number, study_uid, sop_instance_uid, sha256, length, traceparent"


class Journal(Database):
    """`StudyJournal` in SQLite.

    Parameters
    ----------
    on_commit
        Called with the bytes that nothing may delete, within each writing transaction's turn.
    """

    def __init__(self, path: Path, on_commit: Callable[[int], None] = lambda _: None) -> None:
        super().__init__(path)
        self._on_commit = on_commit
        self._held = 0
        self.create("schema.sql")
        self.create("schema_write_backs.sql")

    def before_commit(self, db: sqlite3.Connection) -> None:
        """See `Database`."""
        self._held = _usage(db).held_bytes

    def after_commit(self) -> None:
        """See `Database`."""
        self._on_commit(self._held)

    def _instances(self, query: str, values: Sequence[object]) -> list[SpooledInstance]:
        return [SpooledInstance(*row) for row in self.rows(query, values)]  # type: ignore[arg-type]

    def add(self, arrivals: Sequence[Arrival]) -> list[tuple[Outcome, bool]]:
        """Write arrivals in one transaction; for each its outcome, and whether its file belongs in the spool."""
        now = time.time()
        with self.transaction() as db:
            return [self._add(db, arrival, now) for arrival in arrivals]

    @staticmethod
    def _add(db: sqlite3.Connection, one: Arrival, now: float) -> tuple[Outcome, bool]:
        query = "SELECT 1 FROM written_back WHERE sop_instance_uid = ?"
        if db.execute(query, (one.sop_instance_uid,)).fetchone():
            return Outcome.DUPLICATE, False  # the PACS forwards what the region wrote back: the centre has it
        inserted = db.execute(
            "INSERT INTO instances (study_uid, series_uid, sop_instance_uid, sha256, length, traceparent, received_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (one.study_uid, one.series_uid, one.sop_instance_uid, one.sha256, one.length, one.traceparent, now),
        )
        if inserted.rowcount:
            return Outcome.NEW, True
        query = "SELECT state, on_disk FROM instances WHERE sop_instance_uid = ? AND sha256 = ?"
        state, on_disk = db.execute(query, (one.sop_instance_uid, one.sha256)).fetchone()
        if state == State.REJECTED:
            return Outcome.REJECTED, False
        return Outcome.DUPLICATE, bool(on_disk)

    def count_refusal(self, reason: str) -> None:
        """Count an instance that was refused before it was acknowledged."""
        with self.transaction() as db:
            db.execute(
                "INSERT INTO refusals VALUES (?, 1) ON CONFLICT DO UPDATE SET count = count + 1",
                (reason,),
            )

    def refusals(self) -> dict[str, int]:
        """Refused instances by reason."""
        return dict(self.rows("SELECT reason, count FROM refusals"))  # type: ignore[arg-type]

    def studies_to_send(self) -> list[tuple[str, bool]]:
        """See `StudyJournal`."""
        query = "SELECT study_uid, NOT sent FROM studies WHERE waiting > 0 ORDER BY rowid"
        return [(str(study), bool(first)) for study, first in self.rows(query)]

    def to_send(self, study_uid: str, limit: int) -> list[SpooledInstance]:
        """See `StudyJournal`."""
        query = f"SELECT {_INSTANCE} FROM instances WHERE state = 'received' AND study_uid = ? ORDER BY number LIMIT ?"  # noqa: S608
        return self._instances(query, (study_uid, limit))

    def mark_sent(self, numbers: Iterable[int]) -> None:
        """See `StudyJournal`."""
        with self.transaction() as db:
            db.executemany(
                "UPDATE instances SET state = 'sent' WHERE number = ? AND state = 'received'",
                [(number,) for number in numbers],
            )

    def mark_rejected(self, reasons: Mapping[int, str]) -> None:
        """See `StudyJournal`."""
        with self.transaction() as db:
            db.executemany(
                "UPDATE instances SET state = 'rejected', reason = ? WHERE number = ? AND state = 'received'",
                [(reason, number) for number, reason in reasons.items()],
            )

    def mark_stored(self, study_uid: str, entries: Sequence[ManifestEntry]) -> int:
        """See `StudyJournal`."""
        with self.transaction() as db:
            (order,) = db.execute(_NEXT_IN_RING).fetchone()
            changed = db.executemany(
                "UPDATE instances SET state = 'stored', stored_order = ? WHERE sop_instance_uid = ? AND sha256 = ?"
                " AND study_uid = ? AND state IN ('received', 'sent')",
                [(order, entry.sop_instance_uid, entry.sha256, study_uid) for entry in entries],
            )
            return changed.rowcount

    def studies_to_announce(self) -> dict[str, int]:
        """See `StudyJournal`."""
        query = "SELECT study_uid, last_change FROM studies WHERE last_change > announced_change"
        return dict(self.rows(query))  # type: ignore[arg-type]

    def announce(self, study_uid: str, build: BuildAnnouncement) -> bool:
        """See `StudyJournal`."""
        with self.transaction() as db:
            rows = db.execute(
                "SELECT sop_instance_uid, sha256, traceparent FROM instances"
                " WHERE study_uid = ? AND state != 'rejected' ORDER BY number",
                (study_uid,),
            ).fetchall()
            query = "SELECT announcement FROM studies WHERE study_uid = ?"
            (before,) = db.execute(query, (study_uid,)).fetchone()
            worth_saying = bool(rows or before)
            db.execute(
                "UPDATE studies SET announced_change = last_change, announcement = ? WHERE study_uid = ?",
                (before + worth_saying, study_uid),
            )
            if worth_saying:
                manifest = [ManifestEntry(sop_instance_uid=uid, sha256=digest) for uid, digest, _ in rows]
                query = (
                    "SELECT sop_instance_uid, sha256, reason FROM instances"
                    " WHERE study_uid = ? AND state = 'rejected' ORDER BY number"
                )
                refused = [
                    RejectedEntry(sop_instance_uid=uid, sha256=digest, reason=reason[:100])
                    for uid, digest, reason in db.execute(query, (study_uid,))
                ]
                topic, event = build(before + 1, manifest, refused)
                put_event(db, topic, study_uid, event, _first(rows))
            return worth_saying

    def announce_again(self, study_uid: str | None) -> int:
        """See `StudyJournal`."""
        with self.transaction() as db:
            changed = db.execute(
                "UPDATE studies SET announced_change = last_change - 1"
                " WHERE announcement > 0 AND last_change > 0 AND announced_change = last_change"
                " AND study_uid = coalesce(?, study_uid)",
                (study_uid,),
            )
            return changed.rowcount

    def send_again(self, study_uid: str, entries: Sequence[ManifestEntry]) -> int:
        """See `StudyJournal`."""
        with self.transaction() as db:
            changed = db.executemany(
                "UPDATE instances SET state = 'received', stored_order = NULL WHERE sop_instance_uid = ? AND sha256 = ?"
                " AND study_uid = ? AND on_disk = 1 AND state IN ('sent', 'stored')",
                [(entry.sop_instance_uid, entry.sha256, study_uid) for entry in entries],
            )
            return changed.rowcount

    def pass_over(self, study_uid: str, change: int) -> None:
        """See `StudyJournal`."""
        with self.transaction() as db:
            db.execute(
                "UPDATE studies SET announced_change = max(announced_change, ?) WHERE study_uid = ?",
                (change, study_uid),
            )

    def mark_listed(self, study_uid: str, sop_instance_uids: Collection[str]) -> int:
        """See `StudyJournal`."""
        query = "SELECT number, sop_instance_uid FROM instances WHERE study_uid = ? AND state = 'sent'"
        listed = [number for number, uid in self.rows(query, (study_uid,)) if uid in sop_instance_uids]
        if not listed:
            return 0
        with self.transaction() as db:
            (order,) = db.execute(_NEXT_IN_RING).fetchone()
            changed = db.executemany(
                "UPDATE instances SET state = 'stored', reason = 'in-pacs', stored_order = ?"
                " WHERE number = ? AND state = 'sent'",
                [(order, number) for number in listed],
            )
            return changed.rowcount

    def studies_unlisted(self) -> list[str]:
        """See `StudyJournal`."""
        query = "SELECT DISTINCT study_uid FROM instances WHERE state = 'sent'"
        return [str(row[0]) for row in self.rows(query)]

    def next_events(self, limit: int) -> list[OutgoingEvent]:
        """See `OutgoingEvents`."""
        query = (
            "SELECT number, event_id, topic, key, type, data, traceparent FROM events WHERE problem IS NULL"
            " ORDER BY number LIMIT ?"
        )
        return [
            OutgoingEvent(number, event_id, topic, key, EVENT_TYPES[kind].model_validate_json(data), trace)  # type: ignore[arg-type,index]
            for number, event_id, topic, key, kind, data, trace in self.rows(query, (limit,))
        ]

    def mark_published(self, number: int) -> None:
        """See `OutgoingEvents`."""
        with self.transaction() as db:
            db.execute("DELETE FROM events WHERE number = ?", (number,))

    def set_aside(self, number: int, reason: str) -> None:
        """See `OutgoingEvents`."""
        with self.transaction() as db:
            db.execute("UPDATE events SET problem = ? WHERE number = ?", (reason, number))

    def events_set_aside(self) -> int:
        """How many events can never be published."""
        return int(str(self.rows("SELECT count(*) FROM events WHERE problem IS NOT NULL")[0][0]))

    def usage(self) -> Usage:
        """See `StudyJournal`."""
        with self._reading:
            return _usage(self._read)

    def oldest_unsent_at(self) -> float | None:
        """See `StudyJournal`."""
        query = (
            "SELECT received_at FROM instances WHERE number ="
            " (SELECT min(number) FROM instances INDEXED BY to_send WHERE state = 'received')"
        )
        rows = self.rows(query)
        return float(rows[0][0]) if rows else None  # type: ignore[arg-type]

    def ring_oldest(self, excess_bytes: int) -> list[SpooledInstance]:
        """See `StudyJournal`."""
        query = (
            f"SELECT {_INSTANCE} FROM (SELECT {_INSTANCE}, sum(length) OVER (ORDER BY stored_order, number) - length"  # noqa: S608
            " AS before FROM instances WHERE state = 'stored' AND on_disk = 1) WHERE before < ? LIMIT 2000"
        )
        return self._instances(query, (excess_bytes,))

    def mark_removed(self, numbers: Iterable[int]) -> None:
        """See `StudyJournal`."""
        with self.transaction() as db:
            db.executemany("UPDATE instances SET on_disk = 0 WHERE number = ?", [(number,) for number in numbers])

    def on_disk(self) -> dict[str, tuple[SpooledInstance, State]]:
        """Every instance that should have a file, by SHA-256."""
        rows = self.rows(f"SELECT {_INSTANCE}, state FROM instances WHERE on_disk = 1")  # noqa: S608
        return {str(row[3]): (SpooledInstance(*row[:-1]), State(str(row[-1]))) for row in rows}  # type: ignore[arg-type]

    def states_of(self, study_uid: str) -> list[dict[str, str]]:
        """What the journal says of a study's instances, in order of arrival."""
        query = "SELECT sop_instance_uid, sha256, state, reason FROM instances WHERE study_uid = ? ORDER BY number"
        names = ("sop_instance_uid", "sha256", "state", "reason")
        return [dict(zip(names, map(str, row), strict=True)) for row in self.rows(query, (study_uid,))]


def _usage(db: sqlite3.Connection) -> Usage:
    rows = db.execute("SELECT state, instances, bytes FROM totals").fetchall()
    return Usage({State(s): n for s, n, _ in rows}, {State(s): size for s, _, size in rows})


def _first(rows: list[tuple[str, str, str | None]]) -> str | None:
    return rows[0][2] if rows else None
