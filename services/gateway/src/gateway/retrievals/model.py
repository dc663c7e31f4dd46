"""Rules of a retrieval without I/O: what a further want changes, when it lives, how far it is, what is said of it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from pydantic import BaseModel

from imaging_common.events import RetrieveRequested, SeriesWanted

MAX_FIRST = 16
"""Each of them goes by itself at the hospital: soon, but slowly, so they are few."""
VIEW, WORKSTATION, PREFETCH = 0, 2, 5
"""Priorities; lower goes first."""
State = Literal["requested", "queued", "running", "done", "failed", "cancelled"]
LIVE: frozenset[State] = frozenset({"requested", "queued", "running"})


@dataclass(frozen=True, slots=True)
class Away:
    """Why a holder cannot give images now, and since when."""

    holder: str
    reason: str
    """`edge-offline`, `pacs-unreachable`, a `RetrieveReason`, `not-given` or `no-answer`."""
    since: datetime | None = None

    @property
    def warning(self) -> str:
        """The value of the HTTP header `Warning` (RFC 7234 §5.5)."""
        since = f" since {self.since.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" if self.since else ""
        return f'299 imaging-cloud "{self.holder} cannot be asked{since}: {self.reason}"'


@dataclass(frozen=True, slots=True)
class Want:
    """What somebody wants of one study at one holder."""

    holder: str
    study_uid: str
    series: tuple[SeriesWanted, ...] = ()
    """In this order; empty: the whole study."""
    first: tuple[str, ...] = ()
    """SOP Instance UIDs that somebody waits for now."""
    priority: int = VIEW
    whole: bool = False
    """`series` names all of the study."""

    @property
    def key(self) -> str:
        """`<holder>/<study>`."""
        return f"{self.holder}/{self.study_uid}"


class Retrieval(BaseModel):
    """The one retrieval of a study at a holder, as all copies of the gateway see it."""

    holder: str
    study_uid: str
    retrieval_id: str
    revision: int = 1
    state: State = "requested"
    priority: int
    deadline: datetime
    series: list[SeriesWanted] = []
    first: list[str] = []
    reason: str = ""
    total: int = 0
    done: int = 0
    bytes_done: int = 0
    missing: list[str] = []
    requested_at: datetime
    published_at: datetime
    answered: bool = False
    """Whether the hospital has said anything since the last revision."""
    started_done: int = 0
    """Instances that were done when the hospital first spoke."""
    changed_at: datetime
    leases: dict[str, datetime] = {}
    """Who wants it, until when."""

    @property
    def key(self) -> str:
        """`<holder>/<study>`."""
        return f"{self.holder}/{self.study_uid}"

    def live(self, now: datetime) -> bool:
        """Whether the hospital is still to bring something."""
        return self.state in LIVE and now < self.deadline

    def wanted(self, now: datetime) -> bool:
        """Whether anybody still wants it."""
        return any(until > now for until in self.leases.values())

    def event(self) -> RetrieveRequested:
        """What the hospital is told."""
        return RetrieveRequested(
            retrieval_id=self.retrieval_id,
            revision=self.revision,
            study_uid=self.study_uid,
            priority=self.priority,
            deadline=self.deadline,
            series=self.series,
            first=self.first,
        )


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a retrieval is, for people."""

    state: str
    total: int
    done: int
    bytes_done: int
    seconds_left: int | None
    """None: nothing is known yet."""
    reason: str = ""

    @property
    def percent(self) -> int:
        """Of instances."""
        return min(100, self.done * 100 // self.total) if self.total else 0

    @property
    def megabytes(self) -> str:
        """What has come, in MB."""
        return f"{self.bytes_done / 1e6:.1f}"


def asked(known: Retrieval | None, want: Want, now: datetime, *, new_id: str, lasts: timedelta) -> Retrieval | None:
    """The retrieval to keep and publish so that `want` is met; None when `known` meets it already."""
    if known is None or not known.live(now):
        return Retrieval(
            holder=want.holder,
            study_uid=want.study_uid,
            retrieval_id=new_id,
            priority=want.priority,
            deadline=now + lasts,
            series=list(want.series),
            first=list(want.first[:MAX_FIRST]),
            requested_at=now,
            published_at=now,
            changed_at=now,
        )
    series = union(known.series, want.series)
    more = any(uid not in known.first for uid in want.first)
    first = list(dict.fromkeys([*want.first, *known.first]))[:MAX_FIRST] if more else known.first
    priority = min(known.priority, want.priority)
    if (series, first, priority) == (known.series, known.first, known.priority):
        return None
    changes = {"series": series, "first": first, "priority": priority, "revision": known.revision + 1}
    return known.model_copy(update={**changes, "published_at": now, "answered": False})


def union(known: list[SeriesWanted], more: Iterable[SeriesWanted]) -> list[SeriesWanted]:
    """Both wants together; an empty list is the whole study, and so is a series without instances the whole series."""
    wanted = list(more)
    if not known:
        return known
    if not wanted:
        return []
    found: dict[str, SeriesWanted] = {one.series_uid: one for one in known}
    for one in wanted:
        old = found.get(one.series_uid)
        if old is None or not one.instances:
            found[one.series_uid] = one
        elif old.instances:
            instances = list(dict.fromkeys([*old.instances, *one.instances]))
            found[one.series_uid] = SeriesWanted(series_uid=one.series_uid, instances=instances)
    return list(found.values())


def progress_of(retrieval: Retrieval, now: datetime) -> Progress:
    """For people: the time left is estimated from what came since the retrieval was asked for."""
    came = retrieval.done - retrieval.started_done
    seconds = (retrieval.changed_at - retrieval.requested_at).total_seconds()
    left = None
    if retrieval.state in LIVE and came > 0 and seconds > 0 and retrieval.total >= retrieval.done:
        left = round((retrieval.total - retrieval.done) * seconds / came)
    return Progress(
        retrieval.state, retrieval.total, retrieval.done, retrieval.bytes_done, left, reason=retrieval.reason
    )


def availability(document: Mapping[str, Any], away: Away | None) -> str:
    """Instance Availability (0008,0056) of a study or series document (decision 0005)."""
    count = document.get("instance_count") or 0
    if document.get("tier", "central") == "central" or (document.get("online_count") or 0) >= count:
        return "ONLINE"
    if document.get("withdrawn"):
        return "UNAVAILABLE"
    return "NEARLINE" if away is None else unavailable_as(away)


def unavailable_as(away: Away) -> str:
    """OFFLINE when the hospital does not answer, UNAVAILABLE when it says that the study is gone."""
    return "UNAVAILABLE" if away.reason == "study-gone" else "OFFLINE"
