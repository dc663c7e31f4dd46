"""Storage commitment requests, durable until their report was taken; and what the spool's journal says of instances."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from edge_agent.adapters.database import Database

REMEMBERED_SECONDS = 30 * 86400.0
UIDS_PER_QUERY = 500
Reference = tuple[str, str]
"""(SOP class UID, SOP instance UID)."""


@dataclass(frozen=True, slots=True)
class Transaction:
    """One request for commitment (PS3.4 J.3.2)."""

    number: int
    ae_title: str
    address: str
    transaction_uid: str
    items: list[Reference]
    received_at: float
    """Unix time."""
    attempts: int


class CommitmentJournal:
    """All methods block; writing ones are durable on return."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.create("schema_commitments.sql")

    def add(self, ae_title: str, address: str, transaction_uid: str, items: Sequence[Reference], now: float) -> None:
        """Keep a request; the same transaction of the same station again replaces it."""
        with self._database.transaction() as db:
            db.execute("DELETE FROM commitments WHERE outcome != '' AND received_at < ?", (now - REMEMBERED_SECONDS,))
            db.execute(
                "INSERT OR REPLACE INTO commitments (ae_title, address, transaction_uid, items, received_at, next_at)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (ae_title, address, transaction_uid, json.dumps(list(items)), now, now),
            )

    def due(self, now: float, limit: int = 50) -> list[Transaction]:
        """Open requests to look at."""
        rows = self._database.rows(
            "SELECT number, ae_title, address, transaction_uid, items, received_at, attempts FROM commitments"
            " WHERE outcome = '' AND next_at <= ? ORDER BY next_at LIMIT ?",
            (now, limit),
        )
        return [
            Transaction(int(n), ae, at, uid, [(c, i) for c, i in json.loads(items)], float(received), int(attempts))  # type: ignore[call-overload,arg-type]
            for n, ae, at, uid, items, received, attempts in rows
        ]

    def postpone(self, number: int, next_at: float, *, attempted: bool) -> None:
        """Look at it again later."""
        with self._database.transaction() as db:
            db.execute(
                "UPDATE commitments SET next_at = ?, attempts = attempts + ? WHERE number = ? AND outcome = ''",
                (next_at, int(attempted), number),
            )

    def end(self, number: int, outcome: str) -> None:
        """It was reported, or given up."""
        with self._database.transaction() as db:
            db.execute("UPDATE commitments SET outcome = ? WHERE number = ?", (outcome, number))

    def states(self, uids: Sequence[str]) -> dict[str, set[str]]:
        """The states in the spool's journal by SOP Instance UID; the same UID may have arrived with several bytes."""
        found: dict[str, set[str]] = {}
        for start in range(0, len(uids), UIDS_PER_QUERY):
            some = list(uids[start : start + UIDS_PER_QUERY])
            marks = ",".join("?" * len(some))
            # what is only in the hospital's PACS and the cache has no receipt of the archive
            known = "CASE WHEN reason = 'in-pacs' THEN 'sent' ELSE state END"
            query = f"SELECT sop_instance_uid, {known} FROM instances WHERE sop_instance_uid IN ({marks})"  # noqa: S608
            for uid, state in self._database.rows(query, some):
                found.setdefault(str(uid), set()).add(str(state))
        return found
