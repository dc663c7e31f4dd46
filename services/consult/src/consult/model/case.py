"""One case: everything its parties share."""

import re
from datetime import datetime
from typing import Literal

from pydantic import BaseModel

from consult.model.application import Application
from consult.model.report import Report, Signature
from consult.model.states import Action, State

CONSULT_ID = re.compile(r"[0-9a-f]{32}")
"""What the service gives as ids; anything else is no consult, and is not written anywhere."""


class Step(BaseModel):
    """One entry of the case's timeline."""

    at: datetime
    user: str
    """Empty: the region itself."""
    name: str
    hospital: str = ""
    action: Action
    state: State
    reason: str = ""
    about: str = ""
    """Whom or what it concerns: the new expert, the asked colleague, the number of the case one level up."""


class Member(BaseModel):
    """An expert who is asked for an opinion beside (multi-disciplinary)."""

    user: str
    name: str
    hospital: str
    asked_by: str
    question: str = ""
    excused: bool = False
    opinion: "Opinion | None" = None


class Opinion(BaseModel):
    """What one expert says; the author of the report sums up."""

    by: str
    name: str
    hospital: str
    text: str
    at: datetime
    from_consult: str = ""
    """Id of the case one level up whose report this is; empty: a member of the panel."""
    from_number: str = ""


class Attachment(BaseModel):
    """A file of the case; its bytes lie beside it."""

    id: str
    kind: Literal["document", "picture", "lab", "consent"]
    name: str
    media_type: Literal["application/pdf", "image/png", "image/jpeg"]
    size: int
    """Bytes."""
    sha256: str
    by: str
    at: datetime


LimitName = Literal["accept", "opinion", "report", "critical"]


class Limit(BaseModel):
    """One time limit of the case. It runs while `met_at` is None and the case is not paused."""

    name: LimitName
    due_at: datetime
    remind_at: datetime
    escalate_at: datetime
    met_at: datetime | None = None
    reminded: bool = False
    overdue: bool = False
    escalated: bool = False


class Critical(BaseModel):
    """A critical value's own chain: told at once, confirmed by the applicant's side."""

    text: str
    report_version: int
    raised_at: datetime
    acknowledged_by: str = ""
    acknowledged_name: str = ""
    acknowledged_at: datetime | None = None
    action_taken: str = ""


class Consult(Application):
    """One case: its application, and what became of it."""

    id: str
    number: str
    version: int
    """Counts the transitions: each names the version it was made on. Drafts, comments and files do not change it."""
    epoch: int = 1
    """Raised by one when the cases are restored from a backup: others may know versions that came after it."""
    application_revision: int = 1
    """Counts the saves of the application while it is a draft or returned."""
    draft_saves: int = 0
    """Counts the saves of the report while it is written, so that none slips in behind a transition that reads it."""
    state: State
    applicant: str
    applicant_name: str
    applicant_hospital: str
    created_at: datetime
    submitted_at: datetime | None = None
    expert: str | None = None
    expert_name: str | None = None
    expert_hospital: str = ""
    by_name: bool = False
    """Only who has a part by name sees it at the hospital that was asked: named experts, outside hospitals."""
    routed_by: str = ""
    """The row of the routing table that chose the target; empty: the applicant did."""
    modalities: list[str] = []
    """Of the studies when the application was last saved (0008,0060); empty: it could not be asked."""
    body_parts: list[str] = []
    """Body Part Examined of the studies (0018,0015), likewise."""
    panel: list[Member] = []
    opinions: list[Opinion] = []
    """Of cases one level up that this one escalated to."""
    parent_id: str = ""
    parent_number: str = ""
    children: list[str] = []
    """Ids of the cases one level up."""
    attachments: list[Attachment] = []
    limits: list[Limit] = []
    paused_at: datetime | None = None
    overdue: bool = False
    timeline: list[Step]
    reviewer: str = ""
    """User id of the second reader who was asked; empty: any expert of the hospital that was asked but the author."""
    reviewer_name: str = ""
    review: Signature | None = None
    """The second reader's approval of the draft that is to be issued."""
    report: Report | None = None
    """The version that counts now; all of them are in `report_versions`."""
    amendment_reason: str = ""
    """Why an issued report is being corrected."""
    critical: Critical | None = None

    def application(self) -> Application:
        """What the applicant wrote."""
        return Application.model_validate(self.model_dump(include=set(Application.model_fields)))


Member.model_rebuild()
