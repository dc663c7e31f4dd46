"""The hospital's messages (HL7 v2), durable: bytes in `<spool>/reports/`, how far each is in the agent's database."""

import hashlib
import os
import time
from pathlib import Path

from edge_agent.adapters.database import Database
from edge_agent.adapters.spool import sync_folder
from edge_agent.errors import SpoolUnusable
from edge_agent.model import KeptReport, ReportCounts


class ReportJournal:
    """`ReportQueue` and `MessageLog` on one folder and one database. All methods block.

    Parameters
    ----------
    limit_bytes
        Bytes of reports that the centre has not taken, or refused; beyond it nothing is acknowledged.
    """

    def __init__(self, database: Database, folder: Path, limit_bytes: int) -> None:
        self._database = database
        self._folder = folder
        self._limit = limit_bytes
        folder.mkdir(parents=True, exist_ok=True)
        database.create("schema_reports.sql")
        self._sweep()

    def keep(self, data: bytes, control_id: str, media_type: str) -> bool:
        """Take a report; file, folder and row are on stable storage on return. False: the same bytes came before.

        Raises
        ------
        SpoolUnusable
            There is no room for it.
        """
        digest = hashlib.sha256(data).hexdigest()
        if self._known(digest) is not None:
            return False
        if self.counts().held_bytes + len(data) > self._limit:
            raise SpoolUnusable("the folder of reports is full")
        path = self._path(digest)
        half = path.with_suffix(f".{os.getpid()}-{time.monotonic_ns()}.half")
        try:
            with half.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            half.rename(path)
        finally:
            half.unlink(missing_ok=True)
        sync_folder(self._folder)
        return self._insert(digest, control_id, media_type, len(data), "waiting")[1]

    def note(self, data: bytes, control_id: str, media_type: str) -> int:
        """Note an order's message, durably; its number among the hospital's messages, the same for the same bytes."""
        digest = hashlib.sha256(data).hexdigest()
        return self._insert(digest, control_id, media_type, len(data), "taken")[0]

    def count_refusal(self, reason: str) -> None:
        """Count what was not acknowledged."""
        with self._database.transaction() as db:
            db.execute(
                "INSERT INTO message_refusals VALUES (?, 1) ON CONFLICT DO UPDATE SET count = count + 1", (reason,)
            )

    def refusals(self) -> dict[str, int]:
        """What was not acknowledged, by reason."""
        return dict(self._database.rows("SELECT reason, count FROM message_refusals"))  # type: ignore[arg-type]

    def waiting(self, limit: int) -> list[KeptReport]:
        """See `ReportQueue`."""
        rows = self._database.rows(
            "SELECT number, sha256, media_type FROM messages WHERE state = 'waiting' ORDER BY number LIMIT ?", (limit,)
        )
        return [KeptReport(int(str(number)), str(digest), str(kind)) for number, digest, kind in rows]

    def read(self, report: KeptReport) -> bytes:
        """See `ReportQueue`."""
        return self._path(report.sha256).read_bytes()

    def mark_sent(self, report: KeptReport) -> None:
        """See `ReportQueue`."""
        self._state(report, "sent", "")
        self._path(report.sha256).unlink(missing_ok=True)

    def mark_refused(self, report: KeptReport, reason: str) -> None:
        """See `ReportQueue`."""
        self._state(report, "refused", reason)

    def counts(self) -> ReportCounts:
        """How many reports there are in each state, and the bytes of those that lie here."""
        rows = self._database.rows("SELECT state, count(*), sum(length) FROM messages GROUP BY state")
        found = {str(state): (int(str(n)), int(str(size))) for state, n, size in rows}
        held = sum(found.get(state, (0, 0))[1] for state in ("waiting", "refused"))
        waiting, sent, refused, orders = (found.get(s, (0, 0))[0] for s in ("waiting", "sent", "refused", "taken"))
        return ReportCounts(waiting, sent, refused, orders, held)

    def refused(self) -> list[dict[str, str]]:
        """The reports that the centre refused, with reasons; the bytes lie in the folder."""
        query = "SELECT sha256, reason FROM messages WHERE state = 'refused' ORDER BY number DESC LIMIT 100"
        return [{"sha256": str(digest), "reason": str(reason)} for digest, reason in self._database.rows(query)]

    def _path(self, digest: str) -> Path:
        return self._folder / f"{digest}.hl7"

    def _known(self, digest: str) -> int | None:
        rows = self._database.rows("SELECT number FROM messages WHERE sha256 = ?", (digest,))
        return int(str(rows[0][0])) if rows else None

    def _insert(self, digest: str, control_id: str, media_type: str, length: int, state: str) -> tuple[int, bool]:
        with self._database.transaction() as db:
            added = db.execute(
                "INSERT INTO messages (sha256, control_id, media_type, length, state, received_at)"
                " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (digest, control_id, media_type, length, state, time.time()),
            )
            (number,) = db.execute("SELECT number FROM messages WHERE sha256 = ?", (digest,)).fetchone()
            return int(number), bool(added.rowcount)

    def _state(self, report: KeptReport, state: str, reason: str) -> None:
        with self._database.transaction() as db:
            db.execute(
                "UPDATE messages SET state = ?, reason = ? WHERE number = ? AND state = 'waiting'",
                (state, reason, report.number),
            )

    def _sweep(self) -> None:
        """Remove files without a row: they were never acknowledged; and those that are sent."""
        rows = self._database.rows("SELECT sha256 FROM messages WHERE state IN ('waiting', 'refused')")
        known = {str(digest) for (digest,) in rows}
        for path in self._folder.iterdir():
            if path.name.partition(".")[0] not in known or path.suffix == ".half":
                path.unlink()
