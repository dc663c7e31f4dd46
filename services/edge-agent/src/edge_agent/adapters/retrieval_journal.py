"""The journal's part about retrievals: what was asked for, what the centre has of it, how it ended."""

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime

from edge_agent.adapters.database import Database, put_event
from edge_agent.retrievals import Retrieval
from imaging_common.events import Event, RetrieveProgressed, RetrieveRequested, SeriesWanted
from imaging_common.telemetry import current_traceparent

_RETRIEVAL = "retrieval_id, revision, study_uid, priority, deadline, series, first"


class RetrievalJournal:
    """`RetrievalLog` in the agent's database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.create("schema_retrievals.sql")

    def take_request(self, request: RetrieveRequested) -> Retrieval | None:
        """See `RetrievalLog`; a higher revision also opens again what had ended, but not what was cancelled unseen."""
        values = (
            request.retrieval_id,
            request.study_uid,
            request.revision,
            request.priority,
            request.deadline.timestamp(),
            json.dumps([one.model_dump() for one in request.series]),
            json.dumps(request.first),
        )
        with self._database.transaction() as db:
            changed = db.execute(
                "INSERT INTO retrievals (retrieval_id, study_uid, revision, priority, deadline, series, first, state)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, 'open') ON CONFLICT DO UPDATE SET revision = excluded.revision,"
                " priority = excluded.priority, deadline = excluded.deadline, series = excluded.series,"
                " first = excluded.first, state = 'open', ended_at = NULL"
                " WHERE excluded.revision > revision AND revision > 0 AND excluded.study_uid = study_uid",
                values,
            ).rowcount
        return _from_request(request) if changed else None

    def cancel(self, retrieval_id: str, study_uid: str, topic: str) -> bool:
        """See `RetrievalLog`."""
        with self._database.transaction() as db:
            db.execute(
                "INSERT OR IGNORE INTO retrievals VALUES (?, ?, 0, 9, 0, '[]', '[]', 'open', NULL)",
                (retrieval_id, study_uid),
            )
            changed = db.execute(
                "UPDATE retrievals SET state = 'cancelled', ended_at = ?"
                " WHERE retrieval_id = ? AND study_uid = ? AND state = 'open'",
                (time.time(), retrieval_id, study_uid),
            ).rowcount
            if changed:
                count, size = db.execute(
                    "SELECT count(*), coalesce(sum(length), 0) FROM retrieved WHERE retrieval_id = ?", (retrieval_id,)
                ).fetchone()
                event = RetrieveProgressed(
                    retrieval_id=retrieval_id,
                    study_uid=study_uid,
                    state="cancelled",
                    instances_total=count,
                    instances_done=count,
                    bytes_done=size,
                    at=datetime.now(UTC),
                )
                put_event(db, topic, study_uid, event)
        return bool(changed)

    def unfinished(self) -> list[Retrieval]:
        """See `RetrievalLog`."""
        rows = self._database.rows(f"SELECT {_RETRIEVAL} FROM retrievals WHERE state = 'open'")  # noqa: S608
        return [_from_row(row) for row in rows]

    def done(self, retrieval_id: str) -> dict[str, int]:
        """See `RetrievalLog`."""
        query = "SELECT sop_instance_uid, length FROM retrieved WHERE retrieval_id = ?"
        return dict(self._database.rows(query, (retrieval_id,)))  # type: ignore[arg-type]

    def mark_done(self, retrieval_id: str, lengths: Mapping[str, int]) -> None:
        """See `RetrievalLog`."""
        with self._database.transaction() as db:
            db.executemany(
                "INSERT OR IGNORE INTO retrieved VALUES (?, ?, ?)",
                [(retrieval_id, uid, length) for uid, length in lengths.items()],
            )

    def finish(self, retrieval_id: str, revision: int, state: str, topic: str, event: Event | None) -> bool:
        """See `RetrievalLog`."""
        with self._database.transaction() as db:
            row = db.execute(
                "UPDATE retrievals SET state = ?, ended_at = ?"
                " WHERE retrieval_id = ? AND revision = ? AND state = 'open' RETURNING study_uid",
                (state, time.time(), retrieval_id, revision),
            ).fetchone()
            if row is not None and event is not None:
                put_event(db, topic, row[0], event, current_traceparent())
        return row is not None

    def purge(self, before: float) -> int:
        """See `RetrievalLog`."""
        with self._database.transaction() as db:
            gone = db.execute("DELETE FROM retrievals WHERE ended_at < ? AND state != 'open'", (before,)).rowcount
            if gone:
                db.execute("DELETE FROM retrieved WHERE retrieval_id NOT IN (SELECT retrieval_id FROM retrievals)")
        return int(gone)

    def states(self) -> dict[str, int]:
        """How many retrievals are in which state."""
        rows = self._database.rows("SELECT state, count(*) FROM retrievals GROUP BY state")
        return dict(rows)  # type: ignore[arg-type]


def _from_request(request: RetrieveRequested) -> Retrieval:
    return Retrieval(
        request.retrieval_id,
        request.revision,
        request.study_uid,
        request.priority,
        request.deadline.timestamp(),
        tuple(request.series),
        tuple(request.first),
        current_traceparent(),
    )


def _from_row(row: tuple[object, ...]) -> Retrieval:
    retrieval_id, revision, study_uid, priority, deadline, series, first = row
    wanted = tuple(SeriesWanted.model_validate(one) for one in json.loads(str(series)))
    return Retrieval(
        str(retrieval_id),
        int(str(revision)),
        str(study_uid),
        int(str(priority)),
        float(str(deadline)),
        wanted,
        tuple(json.loads(str(first))),
    )
