"""Events about hospitals, residents, notices and the audit record."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from imaging_common.events.base import Event
from imaging_common.ids import HospitalId, Uid

AuditAction = Literal[
    "search",
    "view",
    "store",
    "sign-in",
    "sign-out",
    "apply",
    "accept",
    "draft",
    "reject",
    "issue",
    "withdraw",
    "acknowledge",
    "retrieve",
    "link",
    "unlink",
    "delete",
    "restore",
    "hold",
    "order",
    "report",
    "launch",
    "share",
    "revoke",
    "break-glass",
    "permission",
    "onboard",
    "replay",
    "export",
    "annotate",
    "return",
    "assign",
    "release",
    "read",
    "review",
    "escalate",
    "invite",
    "opinion",
    "amend",
    "comment",
    "configure",
    "subscribe",
]
AuditOutcome = Literal["success", "denied", "failed"]


class HospitalRegistered(Event):
    """A hospital of the region and its policy; the last one counts."""

    hospital: HospitalId = Field(description="Id of the hospital.")
    revision: int = Field(ge=1, description="Counts the registrations of this hospital.")
    name_zh: str = Field(description="Name in Chinese.")
    name_en: str = Field(description="Name in English.")
    level: Literal["community", "secondary", "tertiary", "outside"] = Field(description="Level of the hospital.")
    tier: Literal["distributed", "central"] = Field(description="Where its images lie.")
    compression: Literal["htj2k", "keep"] = Field(default="htj2k", description="What archive packs do with pixels.")
    cache_weight: float = Field(
        default=1.0, gt=0, description="Its share of the cache tier's quota, against the other hospitals' weights."
    )
    retention_days: int = Field(
        default=30, ge=1, description="Days in which a deletion in the central tier can be undone."
    )
    legal_hold: bool = Field(default=False, description="Nothing of this hospital is deleted while it holds.")


class PatientLinked(Event):
    """The EHR, or an operator, says that this patient of a hospital is this resident."""

    hospital: HospitalId = Field(description="Issuer of the patient id.")
    patient_id: str = Field(description="Patient ID (0010,0020) at that hospital.")
    resident_id: str = Field(description="The resident's id in the EHR.")
    revision: int = Field(ge=1, description="Counts the statements of this source about this patient.")
    source: Literal["ehr", "operator"] = Field(
        default="ehr", description="Who says so; the EHR's word goes before an operator's, whenever it comes."
    )


class PatientUnlinked(Event):
    """A link is taken back by who made it."""

    hospital: HospitalId = Field(description="Issuer of the patient id.")
    patient_id: str = Field(description="Patient ID (0010,0020) at that hospital.")
    revision: int = Field(ge=1, description="Counts the statements of this source about this patient.")
    source: Literal["ehr", "operator"] = Field(default="ehr", description="Who says so.")


class ResidentMerged(Event):
    """Two resident records are one person: the old id redirects to the new one."""

    resident_id: str = Field(description="The id that is no longer used.")
    into: str = Field(description="The id that stays.")
    revision: int = Field(ge=1, description="Counts the statements about this resident.")


class NoticeRaised(Event):
    """Somebody is to be told something; number and link only, no personal data."""

    notice_id: str = Field(description="One per (event, recipient): the same event again has the same id.")
    recipient: str = Field(description="`user:<id>`, `hospital:<id>:<role>` or `region:<role>`.")
    kind: str = Field(description="What happened, e.g. consult-submitted.")
    number: str = Field(description="The consult's number.")
    link: str = Field(description="Path below the portal.")
    raised_at: datetime = Field(description="UTC.")
    urgency: Literal["routine", "urgent", "emergency"] = Field(
        default="routine", description="An emergency goes through quiet hours."
    )


class NoticeSeen(Event):
    """Somebody has seen a notice: no other channel needs to tell them."""

    notice_id: str = Field(description="The notice.")
    user: str = Field(description="User id of who saw it.")
    seen_at: datetime = Field(description="UTC.")


class AuditRecorded(Event):
    """Who did what to which study or consult, and whether it was allowed (PS3.15 A.5)."""

    audit_id: str = Field(description="Unique; the same record again has the same id.")
    service: str = Field(description="The service that saw it.")
    action: AuditAction = Field(description="What was done.")
    outcome: AuditOutcome = Field(description="Whether it happened.")
    reason: str = Field(default="", description="Why it was denied or failed; the rule's name.")
    user: str = Field(description="User id, or the calling agent's principal.")
    hospital: str = Field(default="", description="The user's hospital.")
    study_uid: Uid | None = Field(default=None, description="Study Instance UID, where it concerns one.")
    holder: str | None = Field(default=None, description="The study's holder.")
    consult_id: str | None = Field(default=None, description="The consult, where it concerns one.")
    count: int = Field(default=1, ge=0, description="Instances or rows concerned.")
    roles: list[str] = Field(default_factory=list, description="The user's roles when it happened.")
    session: str = Field(default="", description="Names the session; of no use to sign in.")
    resident_id: str | None = Field(default=None, description="The resident, where it concerns one.")
    grant_id: str | None = Field(default=None, description="The launch, share link or break-glass act that allowed it.")
    purpose: str = Field(default="", description="Why, as stated (HL7 PurposeOfUse code or free text).")
    source: str = Field(default="", description="Where it came from: the EHR's client id, an AE title, a host.")
    at: datetime = Field(description="UTC.")


class AccessGranted(Event):
    """Somebody may see what is not of their own hospital, for a while; no personal data of the resident."""

    grant_id: str = Field(description="The launch, share link or break-glass act.")
    kind: Literal["launch", "share-link", "break-glass"] = Field(description="By what right.")
    revision: int = Field(default=1, ge=1, description="Counts the statements about this grant.")
    user: str = Field(default="", description="User id; empty for a share link.")
    hospital: str = Field(default="", description="The user's hospital.")
    granted_by: str = Field(description="User id, or the EHR's client id.")
    at: datetime = Field(description="UTC.")
    until: datetime = Field(description="UTC; it ends then by itself.")


class AccessEnded(Event):
    """A grant was taken back before its time."""

    grant_id: str = Field(description="The launch, share link or break-glass act.")
    kind: Literal["launch", "share-link", "break-glass"] = Field(description="By what right.")
    revision: int = Field(ge=2, description="Counts the statements about this grant.")
    ended_by: str = Field(description="User id, or the EHR's client id.")
    at: datetime = Field(description="UTC.")
