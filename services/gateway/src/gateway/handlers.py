"""Events in: consults open and end access, notices fill the bell."""

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
