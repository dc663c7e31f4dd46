"""Who is to be told what: pure rules over public events."""

import hashlib
from datetime import datetime

from pydantic import BaseModel, ConfigDict

from imaging_common.events import (
    AccessGranted,
    ConsultAccepted,
    ConsultAcknowledged,
    ConsultEvent,
    ConsultRejected,
    ConsultSubmitted,
    ConsultWithdrawn,
    Event,
    NoticeRaised,
    ReportAmended,
    ReportIssued,
    StudyChanged,
)
from imaging_common.ids import HospitalId


class Organisation(BaseModel):
    """An organisation whose EHR subscribes, and the hospitals it is concerned with."""

    model_config = ConfigDict(frozen=True)

    id: HospitalId
    """As it stands in the topic's name; written like a hospital's id."""
    hospitals: frozenset[HospitalId]

    @property
    def topic(self) -> str:
        """Where its EHR reads."""
        return f"ehr-{self.id}-events"


PRIVACY_OFFICERS = "region:auditor"
TO_APPLICANT = {
    ConsultAccepted: "consult-accepted",
    ConsultRejected: "consult-rejected",
    ReportIssued: "report-issued",
    ReportAmended: "report-amended",
}
TO_CONSULTANT = {
    ConsultSubmitted: "consult-submitted",
    ConsultWithdrawn: "consult-withdrawn",
    ConsultAcknowledged: "consult-acknowledged",
}


def concerns(organisation: Organisation, event: Event) -> bool:
    """Whether a public event goes to an organisation's EHR.

    It does when it is about a study that one of its hospitals holds, or a report that one of them asked for or that is
    on such a study. An organisation learns nothing of other hospitals, and nothing of any other kind of event.
    """
    if isinstance(event, StudyChanged):
        return event.holder in organisation.hospitals
    if isinstance(event, ReportIssued | ReportAmended):
        holders = {study.holder for study in event.studies}
        return not organisation.hospitals.isdisjoint({event.applicant_hospital, *holders})
    return False


def notices(event: ConsultEvent, event_id: str, raised_at: datetime) -> list[NoticeRaised]:
    """The notices an event of a consult raises; the same event again gives the same ids. Number and link only."""
    found = []
    number, link = event.number, f"/portal/consults/{event.consult_id}"
    for rules, recipient in (
        (TO_APPLICANT, f"user:{event.applicant}"),
        (TO_CONSULTANT, f"user:{event.expert}" if event.expert else f"hospital:{event.consultant_hospital}:expert"),
    ):
        if kind := rules.get(type(event)):
            found.append(_notice(event_id, recipient, kind, number, link, raised_at))
    return found


def access_notices(event: AccessGranted, event_id: str, raised_at: datetime) -> list[NoticeRaised]:
    """The privacy officers of the region are told that somebody broke the glass; who and why stands in the audit."""
    if event.kind != "break-glass":
        return []
    number = f"BG-{event.grant_id[:8]}"
    return [_notice(event_id, PRIVACY_OFFICERS, event.kind, number, "/portal/audit", raised_at)]


def _notice(event_id: str, recipient: str, kind: str, number: str, link: str, raised_at: datetime) -> NoticeRaised:
    """A notice whose id is the same for the same event and recipient."""
    return NoticeRaised(
        notice_id=hashlib.sha256(f"{event_id} {recipient}".encode()).hexdigest()[:32],
        recipient=recipient,
        kind=kind,
        number=number,
        link=link,
        raised_at=raised_at,
    )
