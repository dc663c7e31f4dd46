"""The spool's journal: SQLite with write-ahead log and full synchronisation, shared by the agent's processes."""

import sqlite3
import time
from collections.abc import Iterable
from pathlib import Path

from edge_agent.model import Backlog, SpooledInstance, State
from imaging_common.dicom import CheckedInstance
from imaging_common.events import ManifestEntry

SCHEMA = """
CREATE TABLE IF NOT EXISTS instances (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    study_uid TEXT NOT NULL, sop_instance_uid TEXT NOT NULL, sha256 TEXT NOT NULL,
    length INTEGER NOT NULL, path TEXT NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '',
    on_disk INTEGER NOT NULL DEFAULT 1, traceparent TEXT, received_at REAL NOT NULL,
    UNIQUE (study_uid, sop_instance_uid, sha256)
);
CREATE INDEX IF NOT EXISTS waiting ON instances (state, study_uid, number);
CREATE TABLE IF NOT EXISTS announcements (
    study_uid TEXT NOT NULL, announcement INTEGER NOT NULL, last_number INTEGER NOT NULL,
    published INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (study_uid, announcement)
);
"""


class Journal:
    """One connection; each thread that writes has its own."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(SCHEMA)

    def close(self) -> None:
        """Close the connection."""
        self._db.close()

    def add(self, rows: Iterable[tuple[CheckedInstance, Path, str | None]]) -> None:
        """Write received instances in one transaction, durable on return; one that is known changes nothing."""
        now = time.time()
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.executemany(
                "INSERT INTO instances (study_uid, sop_instance_uid, sha256, length, path, state, traceparent,"
                " received_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                [
                    (i.study_uid, i.sop_instance_uid, i.sha256, i.length, str(path), State.RECEIVED, trace, now)
                    for i, path, trace in rows
                ],
            )
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def backlog(self) -> Backlog:
        """What waits, and what the spool holds."""
        row = self._db.execute(
            "SELECT coalesce(sum(state IN ('received', 'sent')), 0),"
            " coalesce(sum(CASE WHEN state IN ('received', 'sent') THEN length END), 0),"
            " coalesce(sum(length), 0) FROM instances WHERE on_disk"
        ).fetchone()
        return Backlog(*row)

    def studies_to_send(self) -> list[str]:
        """Studies with instances that were not sent, the longest waiting first."""
        rows = self._db.execute(
            "SELECT study_uid FROM instances WHERE state = 'received' GROUP BY study_uid ORDER BY min(number)"
        )
        return [row[0] for row in rows]

    def to_send(self, study_uid: str) -> list[SpooledInstance]:
        """The study's instances that were not sent, in order of arrival."""
        rows = self._db.execute(
            "SELECT number, study_uid, sop_instance_uid, sha256, length, path, traceparent FROM instances"
            " WHERE state = 'received' AND study_uid = ? ORDER BY number LIMIT 2000",
            (study_uid,),
        )
        return [SpooledInstance(n, study, sop, sha, size, Path(path), t) for n, study, sop, sha, size, path, t in rows]

    def anything_sent(self, study_uid: str) -> bool:
        """Whether an instance of the study was sent before."""
        query = "SELECT 1 FROM instances WHERE study_uid = ? AND state != 'received' LIMIT 1"
        return self._db.execute(query, (study_uid,)).fetchone() is not None

    def mark_sent(self, batch: list[SpooledInstance], refused: dict[str, str]) -> None:
        """The centre answered: all are sent but the refused ones, which keep the reason."""
        self._db.executemany(
            "UPDATE instances SET state = ?, reason = ? WHERE number = ? AND state = 'received'",
            [
                (State.REJECTED, refused[i.sop_instance_uid], i.number)
                if i.sop_instance_uid in refused
                else (State.SENT, "", i.number)
                for i in batch
            ],
        )

    def mark_stored(self, study_uid: str, entries: list[ManifestEntry]) -> None:
        """The archive's receipt for these instances."""
        self._db.execute("BEGIN IMMEDIATE")
        self._db.executemany(
            "UPDATE instances SET state = 'stored' WHERE study_uid = ? AND sop_instance_uid = ? AND sha256 = ?",
            [(study_uid, entry.sop_instance_uid, entry.sha256) for entry in entries],
        )
        self._db.execute("COMMIT")

    def ring_overflow(self, ring_bytes: int) -> list[tuple[int, Path]]:
        """Stored instances, oldest first, that must go for the ring to keep its bound."""
        rows = self._db.execute(
            "SELECT number, path, sum(length) OVER (ORDER BY number DESC) AS kept FROM instances"
            " WHERE state = 'stored' AND on_disk ORDER BY number"
        )
        return [(number, Path(path)) for number, path, kept in rows if kept > ring_bytes]

    def mark_removed(self, numbers: list[int]) -> None:
        """Their files are gone from the ring."""
        self._db.executemany("UPDATE instances SET on_disk = 0 WHERE number = ?", [(number,) for number in numbers])

    def open_announcements(self, quiet_seconds: float) -> None:
        """Note an announcement for each study that is quiet and has instances no announcement covers."""
        self._db.execute(
            "INSERT INTO announcements (study_uid, announcement, last_number)"
            " SELECT i.study_uid, coalesce(max(a.announcement), 0) + 1, max(i.number) FROM instances i"
            " LEFT JOIN announcements a ON a.study_uid = i.study_uid GROUP BY i.study_uid"
            " HAVING max(i.received_at) < ? AND max(i.number) > coalesce(max(a.last_number), 0)",
            (time.time() - quiet_seconds,),
        )

    def unpublished(self) -> list[tuple[str, int, list[ManifestEntry]]]:
        """Announcements that Kafka has not acknowledged, each with its manifest."""
        rows = self._db.execute(
            "SELECT study_uid, announcement, last_number FROM announcements WHERE NOT published ORDER BY rowid"
        ).fetchall()
        return [(study, number, self._manifest(study, last)) for study, number, last in rows]

    def mark_published(self, study_uid: str, announcement: int) -> None:
        """Kafka has the announcement."""
        query = "UPDATE announcements SET published = 1 WHERE study_uid = ? AND announcement = ?"
        self._db.execute(query, (study_uid, announcement))

    def rows(self, study_uid: str) -> list[dict[str, str]]:
        """What the journal says of a study, for tests and operators."""
        query = "SELECT sop_instance_uid, sha256, state, reason FROM instances WHERE study_uid = ? ORDER BY number"
        names = ("sop_instance_uid", "sha256", "state", "reason")
        return [dict(zip(names, row, strict=True)) for row in self._db.execute(query, (study_uid,))]

    def _manifest(self, study_uid: str, last_number: int) -> list[ManifestEntry]:
        query = "SELECT sop_instance_uid, sha256 FROM instances WHERE study_uid = ? AND number <= ? ORDER BY number"
        rows = self._db.execute(query, (study_uid, last_number))
        return [ManifestEntry(sop_instance_uid=uid, sha256=digest) for uid, digest in rows]
