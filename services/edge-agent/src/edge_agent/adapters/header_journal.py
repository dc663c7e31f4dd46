"""Headers that were read from the instances themselves, durably, and which studies still want it."""

from collections.abc import Collection, Mapping

import orjson
import zstandard

from edge_agent.adapters.database import Database
from edge_agent.harvesting import HARVEST_TRIES
from edge_agent.pacs_model import DicomJson

KEPT_ROWS = 50_000
"""About 60 MB. The centre has what is forgotten; only a study that changes afterwards is read again as a whole."""


class HeaderJournal:
    """`HeaderQueue` in the agent's database, on the tables of `PacsJournal`: the queue is the studies' own state."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def next_without_headers(self, oldest: str, passed_over: Collection[str]) -> str:
        """See `HeaderQueue`."""
        query = (
            "SELECT study_uid FROM pacs_studies WHERE listed AND NOT headers_full AND NOT dirty AND headers_asked < ?"
            " AND study_date >= ? ORDER BY study_date DESC LIMIT ?"
        )
        rows = self._database.rows(query, (HARVEST_TRIES, oldest, len(passed_over) + 1))
        return next((str(uid) for (uid,) in rows if uid not in passed_over), "")

    def harvested(self, study_uid: str) -> dict[str, DicomJson]:
        """See `HeaderQueue`."""
        query = "SELECT sop_instance_uid, header FROM pacs_headers WHERE study_uid = ?"
        unpack = zstandard.ZstdDecompressor()
        return {
            str(uid): orjson.loads(unpack.decompress(header))  # type: ignore[arg-type]
            for uid, header in self._database.rows(query, (study_uid,))
        }

    def keep(self, study_uid: str, headers: Mapping[str, DicomJson], notes: Collection[str] = ()) -> None:
        """See `HeaderQueue`."""
        pack = zstandard.ZstdCompressor(level=3)
        rows = [
            (study_uid, uid, pack.compress(orjson.dumps(header)), int(uid in notes)) for uid, header in headers.items()
        ]
        with self._database.transaction() as db:
            db.executemany("INSERT OR REPLACE INTO pacs_headers VALUES (?, ?, ?, ?)", rows)
            db.execute(
                "DELETE FROM pacs_headers WHERE NOT note AND rowid <= (SELECT max(rowid) FROM pacs_headers) - ?"
                " AND study_uid != ?",
                (KEPT_ROWS, study_uid),
            )

    def drop(self, study_uid: str, sop_instance_uids: Collection[str]) -> None:
        """See `HeaderQueue`."""
        with self._database.transaction() as db:
            db.executemany(
                "DELETE FROM pacs_headers WHERE study_uid = ? AND sop_instance_uid = ?",
                [(study_uid, uid) for uid in sop_instance_uids],
            )

    def announce(self, study_uid: str) -> None:
        """See `HeaderQueue`."""
        with self._database.transaction() as db:
            db.execute(
                "UPDATE pacs_studies SET dirty = 1, history = 0, not_before = 0 WHERE study_uid = ? AND listed",
                (study_uid,),
            )

    def asked_for_all(self, study_uid: str) -> int:
        """See `HeaderQueue`."""
        with self._database.transaction() as db:
            row = db.execute(
                "UPDATE pacs_studies SET headers_asked = headers_asked + 1 WHERE study_uid = ? RETURNING headers_asked",
                (study_uid,),
            ).fetchone()
            return int(row[0]) if row else 0
