"""Where a study lies, what can be had of it now, and how far its retrieval is: for the study list and the viewer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gateway.retrievals.edges import utc_now
from gateway.retrievals.model import LIVE, Away, Progress, Retrieval, availability, progress_of
from gateway.retrievals.retriever import Retriever
from gateway.web.i18n import Translator
from imaging_common.index.model import StudyDocument

Moment = Callable[[Any], str]


@dataclass(frozen=True, slots=True)
class PlaceView:
    """One study at one holder."""

    study_uid: str
    holder: str
    tier: str
    """`central`, `pacs` (at the hospital only), `partly` or `cached`."""
    availability: str
    """Instance Availability (0008,0056)."""
    online: int
    total: int
    as_of: datetime | None
    """When the holder last spoke: announced the study, or gave a sign of life."""
    away: Away | None
    progress: Progress | None
    """Of a retrieval that is under way."""

    @property
    def key(self) -> str:
        """`<holder>/<study>`."""
        return f"{self.holder}/{self.study_uid}"

    @property
    def element(self) -> str:
        """The id of its progress bar on a page."""
        return f"progress-{self.holder}-{self.study_uid.replace('.', '_')}"


async def places_of(retriever: Retriever, documents: Sequence[StudyDocument]) -> dict[str, PlaceView]:
    """By `<holder>/<study>`."""
    elsewhere = [d.id for d in documents if d.tier != "central" and d.online_count < d.instance_count]
    retrievals = await retriever.retrievals(elsewhere) if elsewhere else {}
    return {d.id: _place(retriever, d, retrievals) for d in documents}


def _place(retriever: Retriever, document: StudyDocument, retrievals: Mapping[str, Retrieval]) -> PlaceView:
    away = retriever.away(document.holder, document.study_uid) if document.tier != "central" else None
    state = availability(document.model_dump(include={"tier", "instance_count", "online_count", "withdrawn"}), away)
    retrieval = retrievals.get(document.id)
    live = retrieval is not None and retrieval.state in LIVE
    edge = retriever.edges.state(document.holder)
    spoken = [at for at in (document.announced_at, edge.heard_at if edge else None) if at is not None]
    return PlaceView(
        study_uid=document.study_uid,
        holder=document.holder,
        tier=_tier(document),
        availability=state,
        online=document.online_count,
        total=document.instance_count,
        as_of=max(spoken, default=None) if document.tier != "central" else None,
        away=away if state in ("OFFLINE", "UNAVAILABLE") else None,
        progress=progress_of(retrieval, utc_now()) if retrieval is not None and live else None,
    )


def _tier(document: StudyDocument) -> str:
    if document.tier == "central":
        return "central"
    if document.online_count >= document.instance_count:
        return "cached"
    return "partly" if document.online_count else "pacs"


def progress_text(progress: Progress, t: Translator) -> str:
    """Instances, MB, and the estimate of the time left."""
    if not progress.total:
        return t("place.asked")
    text = t("place.progress", done=progress.done, total=progress.total, mb=progress.megabytes)
    if progress.seconds_left is None:
        return text
    minutes, seconds = divmod(progress.seconds_left, 60)
    left = t("place.minutes", minutes=minutes, seconds=seconds) if minutes else t("place.seconds", seconds=seconds)
    return f"{text} · {left}"


def away_text(away: Away, name: str, t: Translator, moment: Moment) -> str:
    """Which holder cannot be asked, since when and why."""
    why = t.word("away", away.reason)
    if away.since is None:
        return t("place.away", hospital=name, why=why)
    return t("place.away-since", hospital=name, since=moment(away.since), why=why)
