"""Events in: consults open and end access, notices fill the bell."""

from collections.abc import Awaitable, Callable

from gateway.live import LiveHub
from gateway.ports import GrantStore, NoticeStore
from gateway.usecases.apply_grant import apply_grant
from imaging_common.events import (
    ConsultAccepted,
    ConsultAcknowledged,
    ConsultEvent,
    ConsultRejected,
    ConsultSubmitted,
    ConsultWithdrawn,
    Envelope,
    Event,
    NoticeRaised,
)
from imaging_common.messaging import EventRouter

TRANSITIONS = (ConsultSubmitted, ConsultAccepted, ConsultRejected, ConsultWithdrawn, ConsultAcknowledged)


def build_router(grants: GrantStore, notices: NoticeStore) -> EventRouter:
    """The whole map from events to use cases."""
    router = EventRouter()

    async def apply_grant_on_consult_changed(event: ConsultEvent, _: Envelope) -> None:
        """On any transition of a consult: keep whom it opens which studies to."""
        await apply_grant(grants, event)

    for transition in TRANSITIONS:
        router.on(transition, "consult-changed")(apply_grant_on_consult_changed)

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
        try:
            if isinstance(event, TRANSITIONS):
                await apply_grant(grants, event)
                forget_subjects()
            elif isinstance(event, NoticeRaised):
                await notices.add(event)
        finally:
            await live.publish(event)

    return tell_pages_on_event
