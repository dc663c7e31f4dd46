"""The journal's part about a hospital's move to the central tier: its policy, and which studies were copied."""

import time

from edge_agent.adapters.database import Database
from edge_agent.retrievals import ORIGINAL, CopiedStudy, Retrieval

_NEVER = 4_102_444_800.0  # 2100
_PRIORITY = 9


class MigrationJournal:
    """`MigrationLog` in the agent's database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.create("schema_retrievals.sql")

    def take_policy(self, hospital: str, revision: int, tier: str) -> bool:
        """See `MigrationLog`."""
        with self._database.transaction() as db:
            changed = db.execute(
                "INSERT INTO policy VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET revision = excluded.revision,"
                " tier = excluded.tier WHERE excluded.revision > revision",
                (hospital, revision, tier),
            ).rowcount
        return bool(changed)

    def tier(self, hospital: str) -> str:
        """See `MigrationLog`."""
        rows = self._database.rows("SELECT tier FROM policy WHERE hospital = ?", (hospital,))
        return str(rows[0][0]) if rows else ""

    def copied(self) -> dict[str, CopiedStudy]:
        """See `MigrationLog`."""
        rows = self._database.rows("SELECT study_uid, fingerprint, missing, tries, copied_at FROM migrations")
        return {str(row[0]): CopiedStudy(*row[1:]) for row in rows}  # type: ignore[arg-type]

    def mark_copied(self, study_uid: str, copied: CopiedStudy) -> None:
        """See `MigrationLog`."""
        values = (study_uid, copied.fingerprint, copied.missing, copied.tries, copied.at)
        with self._database.transaction() as db:
            db.execute("INSERT OR REPLACE INTO migrations VALUES (?, ?, ?, ?, ?)", values)

    def open_original(self, study_uid: str) -> Retrieval:
        """See `MigrationLog`."""
        retrieval_id = ORIGINAL + study_uid
        with self._database.transaction() as db:
            (revision,) = db.execute(
                "INSERT INTO retrievals VALUES (?, ?, 1, ?, ?, '[]', '[]', 'open', NULL) ON CONFLICT DO UPDATE"
                " SET revision = revision + (state != 'open'), state = 'open', ended_at = NULL RETURNING revision",
                (retrieval_id, study_uid, _PRIORITY, _NEVER),
            ).fetchone()
        return Retrieval(retrieval_id, revision, study_uid, _PRIORITY, _NEVER)

    def close_originals(self) -> int:
        """See `MigrationLog`."""
        with self._database.transaction() as db:
            closed = db.execute(
                "UPDATE retrievals SET state = 'cancelled', ended_at = ? WHERE state = 'open' AND retrieval_id GLOB ?",
                (time.time(), f"{ORIGINAL}*"),
            ).rowcount
        return int(closed)
