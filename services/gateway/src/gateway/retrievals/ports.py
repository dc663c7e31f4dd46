"""What retrievals need of the world, with the fakes that stand in for it."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol
from uuid import uuid4

from gateway.retrievals.model import LIVE, Retrieval, State, Want, asked
from imaging_common.events import EdgeHeartbeat, RetrieveFailed, RetrieveProgressed


class RetrievalStore(Protocol):
    """One document per (holder, study), shared by all copies of the gateway."""

    async def ask(
        self, want: Want, now: datetime, *, lasts: timedelta, lease: str, until: datetime
    ) -> tuple[Retrieval, bool]:
        """Have the retrieval meet `want`, and lease it; the retrieval, and whether the hospital is to be told."""
        ...

    async def lease(self, key: str, lease: str, until: datetime) -> None:
        """Somebody wants it until then; a time that is past gives the lease back."""
        ...

    async def find(self, keys: Sequence[str]) -> dict[str, Retrieval]:
        """Retrievals by `<holder>/<study>`."""
        ...

    async def live(self) -> list[Retrieval]:
        """Those whose hospital is still to bring something."""
        ...

    async def republish(self, retrieval: Retrieval, now: datetime) -> Retrieval | None:
        """Take on to publish it again, with a new revision where the hospital has answered before (it hears no
        revision twice); None when another copy did, or it has changed."""
        ...

    async def cancel(self, retrieval: Retrieval, now: datetime) -> bool:
        """End it, unless it has changed or is wanted again."""
        ...

    async def progressed(self, holder: str, event: RetrieveProgressed, now: datetime) -> None:
        """Keep how far it is."""
        ...

    async def failed(self, holder: str, event: RetrieveFailed, now: datetime) -> None:
        """Keep that it ended, and why."""
        ...


class EdgeStore(Protocol):
    """What was last heard of each hospital's edge agent."""

    async def heard(self, hospital: str, heartbeat: EdgeHeartbeat, at: datetime) -> None:
        """Keep it; `at` by this copy's clock."""
        ...

    async def all(self) -> dict[str, tuple[EdgeHeartbeat, datetime]]:
        """Per hospital the last heartbeat, and when it came."""
        ...


def with_progress(known: Retrieval, event: RetrieveProgressed, now: datetime) -> Retrieval:
    """The retrieval after the hospital spoke; what has ended stays so."""
    if known.state not in LIVE:
        return known
    state: State = event.state
    began = known.done if known.answered else event.instances_done
    return known.model_copy(
        update={
            "state": state,
            "total": event.instances_total,
            "done": event.instances_done,
            "bytes_done": event.bytes_done,
            "missing": list(event.missing),
            "answered": True,
            "started_done": known.started_done if known.total else began,
            "changed_at": now,
        }
    )


def with_failure(known: Retrieval, event: RetrieveFailed, now: datetime) -> Retrieval:
    """The retrieval after it ended."""
    if known.state not in LIVE:
        return known
    update = {"state": "failed", "reason": event.reason, "done": event.instances_done, "answered": True}
    return known.model_copy(update={**update, "changed_at": now})


class FakeRetrievals:
    """`RetrievalStore` in memory."""

    def __init__(self) -> None:
        self.documents: dict[str, Retrieval] = {}

    async def ask(
        self, want: Want, now: datetime, *, lasts: timedelta, lease: str, until: datetime
    ) -> tuple[Retrieval, bool]:
        """See `RetrievalStore.ask`."""
        known = self.documents.get(want.key)
        made = asked(known, want, now, new_id=uuid4().hex, lasts=lasts)
        kept = made or known
        assert kept is not None
        kept = kept.model_copy(update={"leases": {**kept.leases, lease: until}})
        self.documents[want.key] = kept
        return kept, made is not None

    async def lease(self, key: str, lease: str, until: datetime) -> None:
        """See `RetrievalStore.lease`."""
        if known := self.documents.get(key):
            self.documents[key] = known.model_copy(update={"leases": {**known.leases, lease: until}})

    async def find(self, keys: Sequence[str]) -> dict[str, Retrieval]:
        """See `RetrievalStore.find`."""
        return {key: self.documents[key] for key in keys if key in self.documents}

    async def live(self) -> list[Retrieval]:
        """See `RetrievalStore.live`."""
        return [one for one in self.documents.values() if one.state in LIVE]

    async def republish(self, retrieval: Retrieval, now: datetime) -> Retrieval | None:
        """See `RetrievalStore.republish`."""
        kept = self.documents[retrieval.key].model_copy(update={"published_at": now})
        self.documents[retrieval.key] = kept = kept.model_copy(update={"revision": kept.revision + kept.answered})
        return kept

    async def cancel(self, retrieval: Retrieval, now: datetime) -> bool:
        """See `RetrievalStore.cancel`."""
        self.documents[retrieval.key] = retrieval.model_copy(update={"state": "cancelled", "changed_at": now})
        return True

    async def progressed(self, holder: str, event: RetrieveProgressed, now: datetime) -> None:
        """See `RetrievalStore.progressed`."""
        key = f"{holder}/{event.study_uid}"
        known = self.documents.get(key)
        if known is not None and known.retrieval_id == event.retrieval_id:
            self.documents[key] = with_progress(known, event, now)

    async def failed(self, holder: str, event: RetrieveFailed, now: datetime) -> None:
        """See `RetrievalStore.failed`."""
        key = f"{holder}/{event.study_uid}"
        known = self.documents.get(key)
        if known is not None and known.retrieval_id == event.retrieval_id:
            self.documents[key] = with_failure(known, event, now)


class FakeEdgeStore:
    """`EdgeStore` in memory."""

    def __init__(self) -> None:
        self.known: dict[str, tuple[EdgeHeartbeat, datetime]] = {}

    async def heard(self, hospital: str, heartbeat: EdgeHeartbeat, at: datetime) -> None:
        """See `EdgeStore.heard`."""
        self.known[hospital] = (heartbeat, at)

    async def all(self) -> dict[str, tuple[EdgeHeartbeat, datetime]]:
        """See `EdgeStore.all`."""
        return dict(self.known)
