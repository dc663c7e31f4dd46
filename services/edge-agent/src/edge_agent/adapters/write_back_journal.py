"""The journal's part about reports that are written back, and which objects of the PACS came from there."""

import sqlite3
import time
from collections.abc import Collection, Mapping
from datetime import UTC, datetime

from edge_agent.adapters.database import Database, put_event
from edge_agent.writebacks import WriteBack, WriteBackObject
from imaging_common.events import ReportWriteBackRequested, WriteBackDone
from imaging_common.events.edge import WriteBackReason

_OPEN = (
    "SELECT write_back_id, consult_id, report_version, study_uid, holder, deadline, tries, not_before, reason"
    " FROM write_backs WHERE state = 'open' AND not_before <= ? ORDER BY not_before LIMIT 1"
)


class WriteBackJournal:
    """`WriteBackLog` and `WrittenBack` in the agent's database."""

    def __init__(self, database: Database, hospital: str) -> None:
        self._database = database
        self._topic = f"edge-events-{hospital}"
        database.create("schema_write_backs.sql")

    def take(self, request: ReportWriteBackRequested) -> None:
        """See `WriteBackLog`."""
        write_back_id, deadline = request.write_back_id, request.deadline.timestamp()
        with self._database.transaction() as db:
            row = db.execute(
                "SELECT state, reason FROM write_backs WHERE write_back_id = ?", (write_back_id,)
            ).fetchone()
            if row is None:
                db.execute(
                    "INSERT INTO write_backs (write_back_id, consult_id, report_version, study_uid, holder, deadline)"
                    " VALUES (?, ?, ?, ?, ?, ?)",
                    (write_back_id, request.consult_id, request.report_version, request.study_uid, request.holder,
                     deadline),
                )  # fmt: skip
                db.executemany(
                    "INSERT OR IGNORE INTO written_back (sop_instance_uid, study_uid, sha256, write_back_id)"
                    " VALUES (?, ?, ?, ?)",
                    [(one.sop_instance_uid, request.study_uid, one.sha256, write_back_id) for one in request.instances],
                )
                return
            state, reason = row
            if state == "open" or (state == "failed" and deadline > time.time()):
                db.execute(
                    "UPDATE write_backs SET state = 'open', deadline = max(deadline, ?), not_before = 0"
                    " WHERE write_back_id = ?",
                    (deadline, write_back_id),
                )
                return
            self._tell(db, write_back_id, reason)

    def due(self, now: float) -> WriteBack | None:
        """See `WriteBackLog`."""
        rows = self._database.rows(_OPEN, (now,))
        if not rows:
            return None
        write_back_id, consult_id, version, study_uid, holder, deadline, tries, not_before, reason = rows[0]
        objects = self._database.rows(
            "SELECT sop_instance_uid, sha256, stored FROM written_back WHERE write_back_id = ?", (write_back_id,)
        )
        return WriteBack(
            str(write_back_id),
            str(consult_id),
            int(str(version)),
            str(study_uid),
            str(holder),
            tuple(WriteBackObject(str(uid), str(digest)) for uid, digest, _ in objects),
            float(str(deadline)),
            frozenset(str(uid) for uid, _, stored in objects if stored),
            int(str(tries)),
            float(str(not_before)),
            reason,  # type: ignore[arg-type]
        )

    def next_at(self) -> float | None:
        """See `WriteBackLog`."""
        first = self._database.rows("SELECT min(not_before) FROM write_backs WHERE state = 'open'")[0][0]
        return None if first is None else float(str(first))

    def mark_stored(self, write_back_id: str, sop_instance_uids: Collection[str]) -> None:
        """See `WriteBackLog`."""
        with self._database.transaction() as db:
            db.executemany(
                "UPDATE written_back SET stored = 1 WHERE sop_instance_uid = ? AND write_back_id = ?",
                [(uid, write_back_id) for uid in sop_instance_uids],
            )

    def postpone(self, write_back_id: str, reason: WriteBackReason, not_before: float) -> None:
        """See `WriteBackLog`."""
        with self._database.transaction() as db:
            db.execute(
                "UPDATE write_backs SET tries = tries + 1, reason = ?, not_before = ?"
                " WHERE write_back_id = ? AND state = 'open'",
                (reason, not_before, write_back_id),
            )

    def finish(self, write_back_id: str, reason: WriteBackReason) -> None:
        """See `WriteBackLog`."""
        with self._database.transaction() as db:
            ended = db.execute(
                "UPDATE write_backs SET state = ?, reason = ? WHERE write_back_id = ? AND state = 'open'",
                ("failed" if reason else "done", reason, write_back_id),
            ).rowcount
            if ended:
                self._tell(db, write_back_id, reason)

    def states(self) -> dict[str, int]:
        """See `WriteBackLog`."""
        return dict(self._database.rows("SELECT state, count(*) FROM write_backs GROUP BY state"))  # type: ignore[arg-type]

    def of_study(self, study_uid: str) -> frozenset[str]:
        """See `WrittenBack`."""
        query = "SELECT sop_instance_uid FROM written_back WHERE study_uid = ?"
        return frozenset(str(row[0]) for row in self._database.rows(query, (study_uid,)))

    def present(self, study_uid: str) -> tuple[int, int]:
        """See `WrittenBack`."""
        query = "SELECT count(DISTINCT series_uid), count(*) FROM written_back WHERE study_uid = ? AND series_uid != ''"
        series, instances = self._database.rows(query, (study_uid,))[0]
        return int(str(series)), int(str(instances))

    def saw(self, study_uid: str, series: Mapping[str, str]) -> None:
        """See `WrittenBack`."""
        rows = self._database.rows(
            "SELECT sop_instance_uid, series_uid FROM written_back WHERE study_uid = ?", (study_uid,)
        )
        changed = [(series.get(str(uid), ""), uid) for uid, was in rows if series.get(str(uid), "") != was]
        if changed:
            with self._database.transaction() as db:
                db.executemany("UPDATE written_back SET series_uid = ? WHERE sop_instance_uid = ?", changed)

    def studies(self) -> frozenset[str]:
        """See `WrittenBack`."""
        return frozenset(str(row[0]) for row in self._database.rows("SELECT DISTINCT study_uid FROM written_back"))

    def _tell(self, db: sqlite3.Connection, write_back_id: str, reason: str) -> None:
        """Put the receipt into the outbox."""
        consult_id, version, study_uid = db.execute(
            "SELECT consult_id, report_version, study_uid FROM write_backs WHERE write_back_id = ?", (write_back_id,)
        ).fetchone()
        stored = db.execute(
            "SELECT sop_instance_uid FROM written_back WHERE write_back_id = ? AND stored = 1 ORDER BY 1",
            (write_back_id,),
        ).fetchall()
        event = WriteBackDone(
            write_back_id=write_back_id,
            consult_id=consult_id,
            report_version=version,
            study_uid=study_uid,
            stored=[row[0] for row in stored],
            reason=reason,
            at=datetime.now(UTC),
        )
        put_event(db, self._topic, study_uid, event)
