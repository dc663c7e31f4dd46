"""Who is to be told what: pure rules over public events."""

import hashlib
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict

from imaging_common.events import (
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


class Organisation(BaseModel):
    """An organisation whose EHR subscribes, and the hospitals it is concerned with."""

    model_config = ConfigDict(frozen=True)

    id: str
    hospitals: frozenset[str]


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
    """Whether a public event goes to an organisation's EHR: it is about a study or a report of its hospitals."""
    if isinstance(event, StudyChanged):
        return event.holder in organisation.hospitals
    if isinstance(event, ReportIssued | ReportAmended):
        return event.applicant_hospital in organisation.hospitals
    return False


def notices(event: ConsultEvent, event_id: str) -> list[NoticeRaised]:
    """The notices an event of a consult raises; the same event again gives the same ids. Number and link only."""
    found = []
    for rules, recipient in (
        (TO_APPLICANT, f"user:{event.applicant}"),
        (TO_CONSULTANT, f"user:{event.expert}" if event.expert else f"hospital:{event.consultant_hospital}:expert"),
    ):
        if kind := rules.get(type(event)):
            found.append(
                NoticeRaised(
                    notice_id=hashlib.sha256(f"{event_id} {recipient}".encode()).hexdigest()[:32],
                    recipient=recipient,
                    kind=kind,
                    number=event.number,
                    link=f"/portal/consults/{event.consult_id}",
                    raised_at=datetime.now(UTC),
                )
            )
    return found
