"""What the agent knows of its hospital's PACS, durably: studies, what was announced of each, sweeps."""

import sqlite3
import time
from collections.abc import Collection, Mapping

import orjson
import zstandard

from edge_agent.adapters.database import Database, put_event
from edge_agent.model import PacsInstance
from edge_agent.pacs_model import StudyListing
from edge_agent.ports import Announced, PacsCounts, SweepNews
from imaging_common.events import StudyAvailable, StudyWithdrawn

FIRST_SWEEP, LAST_SWEEP = "first-sweep", "last-sweep"
_KNOWN = "SELECT study_uid, series_count, instance_count, attributes, listed, announcement, missed FROM pacs_studies"
_COUNT_ON = (
    "INSERT INTO studies (study_uid, announcement) VALUES (?, ?)"
    " ON CONFLICT (study_uid) DO UPDATE SET announcement = excluded.announcement"
)
"""The spool's journal knows the number too: of what devices send once the PACS is no longer watched, it counts on."""


class PacsJournal:
    """`PacsKnowledge` and `PacsContents` in the agent's database."""

    def __init__(self, database: Database, hospital: str) -> None:
        self._database = database
        self._topic = f"edge-events-{hospital}"
        database.create("schema_pacs.sql")

    def compare(self, listed: Mapping[str, StudyListing], oldest_recent: str) -> SweepNews:
        """See `PacsKnowledge`."""
        first = self.time_of(FIRST_SWEEP) is None
        known = {str(row[0]): row[1:] for row in self._database.rows(_KNOWN)}
        new, changed, back = [], [], []
        for uid, one in listed.items():
            row = known.get(uid)
            if row is None:
                new.append((uid, one.study_date, *_facts(one), int(first and one.study_date < oldest_recent)))
                continue
            series, instances, attributes, told, announcement, missed = row
            withdrawn = announcement and not told
            if (series, instances, attributes) != _facts(one) or withdrawn:
                changed.append((one.study_date, *_facts(one), uid))
            elif missed:
                back.append((uid,))
        if new or changed or back:
            with self._database.transaction() as db:
                db.executemany(
                    "INSERT INTO pacs_studies"
                    " (study_uid, study_date, series_count, instance_count, attributes, history)"
                    " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                    new,
                )
                db.executemany(
                    "UPDATE pacs_studies SET study_date = ?, series_count = ?, instance_count = ?, attributes = ?,"
                    " dirty = 1, missed = 0, tries = 0, not_before = 0, problem = '', headers_asked = 0"
                    " WHERE study_uid = ?",
                    changed,
                )
                db.executemany("UPDATE pacs_studies SET missed = 0 WHERE study_uid = ?", back)
        gone = [uid for uid, row in known.items() if uid not in listed and (row[3] or not row[4])]
        gone.sort(key=lambda uid: -int(str(known[uid][5])))
        return SweepNews(len(new), len(changed), gone)

    def want(self, listing: StudyListing) -> None:
        """See `PacsKnowledge`."""
        with self._database.transaction() as db:
            db.execute(
                "INSERT INTO pacs_studies (study_uid, study_date, series_count, instance_count, attributes)"
                " VALUES (?, ?, ?, ?, ?) ON CONFLICT (study_uid) DO UPDATE SET dirty = 1, history = 0, missed = 0,"
                " tries = 0, not_before = 0, problem = ''",
                (listing.study_uid, listing.study_date, *_facts(listing)),
            )

    def announce_again(self, study_uid: str | None, oldest_recent: str) -> int:
        """See `PacsKnowledge`."""
        with self._database.transaction() as db:
            changed = db.execute(
                "UPDATE pacs_studies SET dirty = 1, content = '', tries = 0, not_before = 0, problem = '',"
                " history = CASE WHEN ? IS NULL AND study_date < ? THEN 1 ELSE 0 END"
                " WHERE listed = 1 AND study_uid = coalesce(?, study_uid)",
                (study_uid, oldest_recent, study_uid),
            )
            query = (
                "SELECT study_uid FROM pacs_studies WHERE listed = 0 AND announcement > 0"
                " AND study_uid = coalesce(?, study_uid)"
            )
            for (gone,) in db.execute(query, (study_uid,)).fetchall():
                self._withdraw(db, gone, "it was withdrawn before")
            return changed.rowcount

    def count_missed(self, studies: Collection[str], limit: int) -> list[str]:
        """See `PacsKnowledge`."""
        withdrawn = []
        for study_uid in studies:
            with self._database.transaction() as db:
                row = db.execute(
                    "UPDATE pacs_studies SET missed = missed + 1 WHERE study_uid = ?"
                    " RETURNING missed, announcement, listed",
                    (study_uid,),
                ).fetchone()
                if row is None or row[0] < limit:
                    continue
                if not row[1]:
                    db.execute("DELETE FROM pacs_studies WHERE study_uid = ?", (study_uid,))
                elif row[2]:
                    self._withdraw(db, study_uid, f"the PACS did not list it in {row[0]} whole sweeps")
                    withdrawn.append(study_uid)
        return withdrawn

    def _withdraw(self, db: sqlite3.Connection, study_uid: str, reason: str) -> None:
        number = _next_announcement(db, study_uid)
        put_event(db, self._topic, study_uid, StudyWithdrawn(study_uid=study_uid, announcement=number, reason=reason))
        db.execute(
            "UPDATE pacs_studies SET announcement = ?, listed = 0, dirty = 0, fingerprint = '', content = ''"
            " WHERE study_uid = ?",
            (number, study_uid),
        )
        db.execute(_COUNT_ON, (study_uid, number))
        db.execute("DELETE FROM pacs_contents WHERE study_uid = ?", (study_uid,))
        db.execute("DELETE FROM pacs_headers WHERE study_uid = ?", (study_uid,))

    def waiting(self, now: float, limit: int, *, history: bool) -> list[tuple[str, bool]]:
        """See `PacsKnowledge`."""
        query = (
            "SELECT study_uid, history FROM pacs_studies WHERE dirty = 1 AND not_before <= ? AND problem = ''"
            " AND history <= ? ORDER BY history, study_date DESC LIMIT ?"
        )
        rows = self._database.rows(query, (now, int(history), limit))
        return [(str(uid), bool(old)) for uid, old in rows]

    def postpone(self, study_uid: str, seconds: float, problem: str = "") -> None:
        """See `PacsKnowledge`."""
        with self._database.transaction() as db:
            db.execute(
                "UPDATE pacs_studies SET tries = tries + 1, not_before = ? + min(3600, ? * (1 << min(tries, 10))),"
                " problem = ? WHERE study_uid = ?",
                (time.time(), seconds, problem, study_uid),
            )

    def next_announcement(self, study_uid: str) -> int:
        """See `PacsKnowledge`."""
        with self._database.transaction() as db:
            return _next_announcement(db, study_uid)

    def announced_content(self, study_uid: str) -> str:
        """See `PacsKnowledge`."""
        rows = self._database.rows("SELECT content FROM pacs_studies WHERE study_uid = ?", (study_uid,))
        return str(rows[0][0]) if rows else ""

    def settle(self, listing: StudyListing, told: Announced, event: StudyAvailable | None) -> None:
        """See `PacsKnowledge`."""
        again = 0.0 if told.full or not told.retry_seconds else time.time() + told.retry_seconds
        with self._database.transaction() as db:
            db.execute(
                "INSERT OR IGNORE INTO pacs_studies (study_uid, study_date, attributes) VALUES (?, '', '')",
                (listing.study_uid,),
            )
            db.execute(
                "UPDATE pacs_studies SET study_date = ?, series_count = ?, instance_count = ?, attributes = ?,"
                " headers_asked = CASE WHEN fingerprint = ? THEN headers_asked ELSE 0 END,"
                " dirty = ?, history = 0, fingerprint = ?, content = ?, headers_full = ?, missed = 0, listed = 1,"
                " tries = CASE WHEN ? THEN tries + 1 ELSE 0 END, not_before = ?, checked_at = ?, problem = ''"
                " WHERE study_uid = ?",
                (
                    *(listing.study_date, *_facts(listing), told.fingerprint),
                    *(int(again > 0), told.fingerprint, told.content),
                    *(int(told.full), int(again > 0), again, time.time(), listing.study_uid),
                ),
            )
            if event is None:
                return
            data = [[i.series_uid, i.sop_instance_uid, i.sop_class_uid, i.instance_number, i.transfer_syntax_uid]
                    for i in told.instances]  # fmt: skip
            db.execute(
                "INSERT OR REPLACE INTO pacs_contents VALUES (?, ?)",
                (listing.study_uid, zstandard.ZstdCompressor().compress(orjson.dumps(data))),
            )
            number = event.announcement
            db.execute(
                "UPDATE pacs_studies SET announcement = ? WHERE study_uid = ?",
                (number, listing.study_uid),
            )
            db.execute(_COUNT_ON, (listing.study_uid, number))
            put_event(db, self._topic, listing.study_uid, event)

    def to_check(self, oldest_recent: str, limit: int) -> list[tuple[str, str]]:
        """See `PacsKnowledge`."""
        query = (
            "SELECT study_uid, fingerprint FROM pacs_studies WHERE listed = 1 AND dirty = 0 AND instance_count IS NULL"
            " ORDER BY study_date >= ? DESC, checked_at LIMIT ?"
        )
        return [(str(uid), str(digest)) for uid, digest in self._database.rows(query, (oldest_recent, limit))]

    def checked(self, study_uid: str, *, changed: bool) -> None:
        """See `PacsKnowledge`."""
        with self._database.transaction() as db:
            db.execute(
                "UPDATE pacs_studies SET checked_at = ?, dirty = max(dirty, ?) WHERE study_uid = ?",
                (time.time(), int(changed), study_uid),
            )

    def sweep_ended(self, at: float) -> None:
        """See `PacsKnowledge`."""
        with self._database.transaction() as db:
            db.execute("INSERT OR IGNORE INTO pacs_state VALUES (?, ?)", (FIRST_SWEEP, at))
            db.execute("INSERT OR REPLACE INTO pacs_state VALUES (?, ?)", (LAST_SWEEP, at))

    def time_of(self, name: str) -> float | None:
        """When something happened, in seconds since 1970; None: never."""
        rows = self._database.rows("SELECT value FROM pacs_state WHERE name = ?", (name,))
        return float(str(rows[0][0])) if rows else None

    def counts(self) -> PacsCounts:
        """See `PacsKnowledge`."""
        query = (
            "SELECT count(*) FILTER (WHERE listed OR NOT announcement),"
            " count(*) FILTER (WHERE dirty AND NOT announcement), count(*) FILTER (WHERE dirty AND history)"
            " FROM pacs_studies"
        )
        studies, waiting, history = (int(str(value)) for value in self._database.rows(query)[0])
        done = self.time_of(FIRST_SWEEP) is not None and not history
        return PacsCounts(studies, waiting, done, self.time_of(LAST_SWEEP))

    def instances(self, study_uid: str) -> list[PacsInstance]:
        """See `PacsContents`."""
        rows = self._database.rows("SELECT instances FROM pacs_contents WHERE study_uid = ?", (study_uid,))
        if not rows:
            return []
        listed = orjson.loads(zstandard.ZstdDecompressor().decompress(rows[0][0]))  # type: ignore[arg-type]
        return [PacsInstance(study_uid, *one) for one in listed]

    def studies(self) -> list[str]:
        """See `PacsContents`."""
        query = "SELECT study_uid FROM pacs_studies WHERE listed OR NOT announcement ORDER BY study_date DESC"
        return [str(row[0]) for row in self._database.rows(query)]


def _facts(one: StudyListing) -> tuple[int | None, int | None, str]:
    return one.series_count, one.instance_count, one.attributes


def _next_announcement(db: sqlite3.Connection, study_uid: str) -> int:
    """After every announcement of the study, also those of what devices sent before the hospital's PACS was watched."""
    query = (
        "SELECT max(coalesce((SELECT announcement FROM pacs_studies WHERE study_uid = ?1), 0),"
        " coalesce((SELECT announcement FROM studies WHERE study_uid = ?1), 0)) + 1"
    )
    return int(db.execute(query, (study_uid,)).fetchone()[0])
