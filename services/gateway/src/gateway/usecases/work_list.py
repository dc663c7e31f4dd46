"""What waits for somebody: which of the cases, studies and patients are theirs to look at. Sorting is pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any

from imaging_common.access import Subject
from imaging_common.audit import AuditTrail, who
from imaging_common.index.read import Page, StudyIndex

SHOWN = 8
"""Rows of a list on the start page; behind them is the whole list."""
COUNTED = 500
PAUSED = frozenset({"draft", "returned"})
URGENCIES = ("emergency", "urgent", "routine")
ENDED = frozenset({"acknowledged", "rejected", "withdrawn"})
ANSWERED = ENDED | {"issued"}
NOT_NOW = ANSWERED | {"draft", "returned", "in-review"}
"""States in which an expert has nothing to do."""
Case = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Part:
    """One list of the start page: its first rows, and how many there are."""

    rows: Sequence[Any] = ()
    total: int = 0
    more: bool = False
    """There are even more than `total`."""
    away: bool = False
    """Whoever would know it does not answer now."""

    @property
    def count(self) -> str:
        """How many there are, as it is shown."""
        return f"{self.total}+" if self.more else str(self.total)


def part_of(rows: Sequence[Any], *, more: bool = False) -> Part:
    """The first rows of a list that is known as a whole, or up to a bound."""
    return Part(rows[:SHOWN], len(rows), more)


def to_answer(cases: Iterable[Case], user: str) -> list[Case]:
    """Cases an expert has to answer: nobody's yet, or their own; by deadline where it has passed, then by urgency,
    then the one that waits longest."""
    mine = [c for c in cases if c["state"] not in NOT_NOW and c.get("expert") in (None, "", user)]
    return sorted(mine, key=lambda case: (not overdue(case), _urgency(case), deadline(case) or "9", begun(case)))


def sent_by(cases: Iterable[Case], user: str) -> list[Case]:
    """A doctor's own applications that go on; those with a report to be read first, then the last changed."""
    mine = [c for c in cases if c["state"] not in ENDED | {"draft", "returned"} and c["applicant"] == user]
    newest = sorted(mine, key=changed, reverse=True)
    return sorted(newest, key=lambda case: case["state"] != "issued")


def to_claim(cases: Iterable[Case]) -> int:
    """How many cases nobody has taken."""
    return sum(case["state"] in ("submitted", "accepted") and not case.get("expert") for case in cases)


def returned_to(cases: Iterable[Case], user: str) -> list[Case]:
    """A doctor's applications that need more data, the one that waits longest first."""
    return sorted((c for c in cases if c["state"] == "returned" and c["applicant"] == user), key=changed)


def critical_ones(cases: Iterable[Case]) -> list[Case]:
    """Cases whose critical value nobody of the applicant's hospital has confirmed; every doctor there may."""
    told = [c for c in cases if c.get("critical") and not c["critical"].get("acknowledged_at")]
    return sorted(told, key=lambda case: str(case["critical"].get("raised_at", "")))


def reviewable(cases: Iterable[Case], user: str) -> list[Case]:
    """Reports that wait for a second reader; an author never reviews their own."""
    waiting = [c for c in cases if c["state"] == "in-review" and c.get("expert") != user]
    return sorted(waiting, key=lambda case: (_urgency(case), changed(case)))


def drafts_of(cases: Iterable[Case], user: str) -> list[Case]:
    """Reports somebody began and has not issued."""
    return sorted((c for c in cases if c["state"] == "drafted" and c.get("expert") == user), key=changed, reverse=True)


def going_on(cases: Iterable[Case]) -> list[Case]:
    """A hospital's open cases for its coordinator: the most urgent first, then the one that waits longest."""
    once = {case["id"]: case for case in cases if case["state"] not in ENDED}
    return sorted(once.values(), key=lambda case: (case["state"] == "issued", _urgency(case), begun(case)))


def begun(case: Case) -> str:
    """When it was submitted (RFC 3339)."""
    return str(case.get("submitted_at") or changed(case, first=True))


def changed(case: Case, *, first: bool = False) -> str:
    """When it last changed, or began (RFC 3339)."""
    steps = case.get("timeline") or [{"at": case.get("created_at", "")}]
    return str(steps[0 if first else -1]["at"])


def deadline(case: Case) -> str:
    """When it should be answered (RFC 3339); empty: nothing says so."""
    running = [limit["due_at"] for limit in case.get("limits") or () if not limit.get("met_at")]
    return str(min(running, default=""))


def overdue(case: Case, now: datetime | None = None) -> bool:
    """Whether its deadline has passed."""
    due = deadline(case)
    return bool(due) and case["state"] not in PAUSED and datetime.fromisoformat(due) < (now or datetime.now(UTC))


def _urgency(case: Case) -> int:
    urgency = case.get("urgency", "routine")
    return URGENCIES.index(urgency) if urgency in URGENCIES else len(URGENCIES)


async def todays_studies(index: StudyIndex, audit: AuditTrail, subject: Subject, zone: tzinfo) -> Page:
    """The own hospital's studies of today, newest first, recorded before they are shown."""
    today = datetime.now(zone).strftime("%Y%m%d")
    return await _studies(index, audit, subject, {"study_date": {"$gte": today, "$lte": today}}, COUNTED)


async def newest_studies(index: StudyIndex, audit: AuditTrail, subject: Subject) -> Page:
    """The own hospital's newest studies, for a day that has none yet; recorded likewise."""
    return await _studies(index, audit, subject, {}, 0)


async def _studies(index: StudyIndex, audit: AuditTrail, subject: Subject, days: dict[str, Any], counted: int) -> Page:
    where = {"holder": subject.hospital, **days}
    page = await index.search_studies(subject, where, limit=SHOWN, lookahead=counted)
    await audit.record(
        action="search",
        outcome="success",
        reason="work-list",
        **who(subject),
        count=len(page.rows),
    )
    return page
