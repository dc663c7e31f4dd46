"""Events in: the public events of studies, consults and reports."""

from collections.abc import Sequence

from imaging_common.events import (
    CONSULT_EVENTS,
    AccessGranted,
    ConsultEvent,
    Envelope,
    ReportAmended,
    ReportIssued,
    StudyChanged,
)
from imaging_common.messaging import EventPublisher, EventRouter
from notification.model import Organisation
from notification.ports import NoticeBook
from notification.usecases import forward_to_ehrs, raise_notices, tell_privacy_officers


def build_router(organisations: Sequence[Organisation], publisher: EventPublisher, book: NoticeBook) -> EventRouter:
    """The whole map from events to use cases."""
    router = EventRouter()

    @router.on(StudyChanged, "study-changed")
    async def tell_ehrs_on_study_changed(event: StudyChanged, envelope: Envelope) -> None:
        """On StudyChanged: pass it on to the EHRs it concerns."""
        await forward_to_ehrs(organisations, publisher, event, envelope)

    async def tell_on_report_changed(event: ConsultEvent, envelope: Envelope) -> None:
        """On ReportIssued or ReportAmended: tell the applicant, and the EHRs it concerns."""
        await raise_notices(book, event, envelope)
        await forward_to_ehrs(organisations, publisher, event, envelope)

    async def tell_people_on_consult_changed(event: ConsultEvent, envelope: Envelope) -> None:
        """On a consult's transition: tell whoever has to act or to know."""
        await raise_notices(book, event, envelope)

    @router.on(AccessGranted, "access-changed")
    async def tell_privacy_officers_on_access_granted(event: AccessGranted, envelope: Envelope) -> None:
        """On AccessGranted by break-glass: tell the region's privacy officers."""
        await tell_privacy_officers(book, event, envelope)

    router.on(ReportIssued, "report-changed")(tell_on_report_changed)
    router.on(ReportAmended, "report-changed")(tell_on_report_changed)
    for event_type in CONSULT_EVENTS:
        router.on(event_type, "consult-changed")(tell_people_on_consult_changed)
    return router
