"""Events in: consults open and end access, notices fill the bell."""

from collections.abc import Awaitable, Callable

from gateway.cases import TRANSITIONS
from gateway.live import LiveHub
from gateway.model import HolderTurned, KeptNotice, RetrievalMoved
from gateway.ports import GrantStore, NoticeStore
from gateway.retrievals.retriever import Retriever
from gateway.usecases.apply_grant import apply_grant
from gateway.usecases.prefetch_studies import Prefetch
from imaging_common.events import (
    REPORT_EVENTS,
    AccessEnded,
    AccessGranted,
    ConsultEvent,
    ConsultSubmitted,
    EdgeHeartbeat,
    Envelope,
    Event,
    NoticeRaised,
    RetrieveFailed,
    RetrieveProgressed,
    StudyChanged,
)
from imaging_common.messaging import EventRouter


def build_router(grants: GrantStore, notices: NoticeStore, prefetch: Prefetch | None = None) -> EventRouter:
    """The whole map from events to use cases."""
    router = EventRouter()

    async def apply_grant_on_consult_changed(event: ConsultEvent, _: Envelope) -> None:
        """On any transition of a consult: keep whom it opens which studies to; with the first, have them at hand."""
        await apply_grant(grants, event)
        if prefetch is not None and isinstance(event, ConsultSubmitted):
            await prefetch.case(event)

    for transition in TRANSITIONS:
        topic = "report-changed" if transition in REPORT_EVENTS else "consult-changed"
        router.on(transition, topic)(apply_grant_on_consult_changed)

    @router.on(NoticeRaised, "notice-raised")
    async def keep_notice_on_notice_raised(event: NoticeRaised, _: Envelope) -> None:
        """On NoticeRaised: keep it for its recipient's bell."""
        await notices.add(event)

    return router


def build_live_reader(
    grants: GrantStore, notices: NoticeStore, live: LiveHub, forget_subjects: Callable[[], None]
) -> Callable[[Event, Envelope], Awaitable[None]]:
    """For this copy's open pages: store first what the group's reader may not have stored yet, then tell the pages."""

    async def tell_pages_on_event(event: Event, _: Envelope) -> None:
        told: Event | KeptNotice = event
        try:
            if isinstance(event, TRANSITIONS):
                await apply_grant(grants, event)
                forget_subjects()
            elif isinstance(event, AccessGranted | AccessEnded):
                forget_subjects()
            elif isinstance(event, NoticeRaised):
                told = KeptNotice(event, await notices.add(event))
        finally:
            await live.publish(told)

    return tell_pages_on_event


def build_retrieval_reader(retriever: Retriever, live: LiveHub) -> Callable[[Event, Envelope], Awaitable[None]]:
    """For what this copy waits for: what hospitals say of retrievals and of themselves, and that the index changed."""

    async def follow_retrieval_on_event(event: Event, envelope: Envelope) -> None:
        if isinstance(event, StudyChanged):
            await retriever.study_changed(event)
        elif isinstance(event, RetrieveProgressed):
            await retriever.progressed(envelope.speaker, event)
            await live.publish(RetrievalMoved(event.study_uid, envelope.speaker))
        elif isinstance(event, RetrieveFailed):
            await retriever.failed(envelope.speaker, event)
            await live.publish(RetrievalMoved(event.study_uid, envelope.speaker))
        elif isinstance(event, EdgeHeartbeat) and await retriever.edges.heard(envelope.speaker, event):
            await live.publish(HolderTurned(envelope.speaker))

    return follow_retrieval_on_event
