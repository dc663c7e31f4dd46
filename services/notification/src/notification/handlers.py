"""Events in: the public events of studies, consults and reports."""

from imaging_common.events import (
    CONSULT_EVENTS,
    AccessGranted,
    ConsultEvent,
    Envelope,
    NoticeSeen,
    PatientLinked,
    ReportAmended,
    ReportDelivered,
    ReportIssued,
    ResidentMerged,
    StudyChanged,
)
from imaging_common.messaging import EventRouter
from notification.feed.ports import FeedStore
from notification.feed.usecases import note_link, note_merge, tell_ehrs
from notification.ports import NoticeBook, SeenBook
from notification.usecases import raise_notices, tell_privacy_officers


def build_router(feed: FeedStore, book: NoticeBook, seen: SeenBook) -> EventRouter:
    """The whole map from events to use cases."""
    router = EventRouter()

    @router.on(StudyChanged, "study-changed")
    async def tell_ehrs_on_study_changed(event: StudyChanged, envelope: Envelope) -> None:
        """On StudyChanged: put it into the feeds of whom it concerns."""
        await tell_ehrs(feed, event, envelope)

    async def tell_on_report_changed(event: ConsultEvent, envelope: Envelope) -> None:
        """On ReportIssued or ReportAmended: tell the applicant, and the EHRs it concerns."""
        await raise_notices(book, event, envelope)
        await tell_ehrs(feed, event, envelope)

    async def tell_on_report_delivered(event: ReportDelivered, envelope: Envelope) -> None:
        """On ReportDelivered: put it into the feeds of whom it concerns; people are told when it failed."""
        await raise_notices(book, event, envelope)
        await tell_ehrs(feed, event, envelope)

    @router.on(PatientLinked, "patient-linked")
    async def note_link_on_patient_linked(event: PatientLinked, envelope: Envelope) -> None:
        """On PatientLinked by an EHR: what is of this resident concerns that EHR from now on."""
        await note_link(feed, event, envelope)

    @router.on(ResidentMerged, "resident-merged")
    async def note_merge_on_resident_merged(event: ResidentMerged, envelope: Envelope) -> None:
        """On ResidentMerged: who keeps the one record keeps the other."""
        await note_merge(feed, event)

    async def tell_people_on_consult_changed(event: ConsultEvent, envelope: Envelope) -> None:
        """On a consult's transition: tell whoever has to act or to know."""
        await raise_notices(book, event, envelope)

    @router.on(AccessGranted, "access-changed")
    async def tell_privacy_officers_on_access_granted(event: AccessGranted, envelope: Envelope) -> None:
        """On AccessGranted by break-glass: tell the region's privacy officers."""
        await tell_privacy_officers(book, event, envelope)

    @router.on(NoticeSeen, "notice-seen")
    async def note_seen_on_notice_seen(event: NoticeSeen, envelope: Envelope) -> None:
        """On NoticeSeen: this person need not be told on any other channel."""
        await seen.seen(event.notice_id, event.user)

    router.on(ReportDelivered, "report-changed")(tell_on_report_delivered)
    router.on(ReportIssued, "report-changed")(tell_on_report_changed)
    router.on(ReportAmended, "report-changed")(tell_on_report_changed)
    for event_type in CONSULT_EVENTS:
        router.on(event_type, "consult-changed")(tell_people_on_consult_changed)
    return router
