"""A report: what its author writes, and the versions that were issued."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field, StringConstraints

from consult.model.application import KeyImage

Long = Annotated[str, StringConstraints(max_length=20_000)]
Short = Annotated[str, StringConstraints(strip_whitespace=True, max_length=500)]


class ReportText(BaseModel):
    """What the expert writes; a draft may lack anything."""

    findings: Long = ""
    impression: Long = ""
    recommendations: Long = ""
    positive: bool = False
    critical: bool = False
    """It holds a critical value: somebody must be told at once, and confirm it."""
    critical_text: Short = ""
    """Which one."""
    key_images: list[KeyImage] = Field(default=[], max_length=100)
    template: Short = ""
    """The template it began from."""


class Signature(BaseModel):
    """Who stands for it, and when they proved who they are (OIDC `auth_time`)."""

    user: str
    name: str
    hospital: str
    at: datetime
    authenticated_at: datetime | None = None


class Report(ReportText):
    """One issued version; it never changes."""

    id: str
    author: str
    author_name: str
    version: int = 1
    issued_at: datetime | None = None
    signature: Signature | None = None
    reviewer: Signature | None = None
    """The second reader, where there was one."""
    amendment_reason: Short = ""
    verification_code: str = ""
    """Printed on the PDF, and in its QR code; `/verify/<code>` says what it stands for."""
    outputs: "Outputs" = Field(default_factory=lambda: Outputs())

    def text(self) -> ReportText:
        """What the author wrote."""
        return ReportText.model_validate(self.model_dump(include=set(ReportText.model_fields)))


class Outputs(BaseModel):
    """What was made of an issued version, and where it went; made after the transition, tried again until done."""

    pdf_sha256: str = ""
    pdf_instance_uid: str = ""
    """SOP Instance UID of the Encapsulated PDF (1.2.840.10008.5.1.4.1.1.104.1)."""
    key_objects_instance_uid: str = ""
    """SOP Instance UID of the Key Object Selection (…88.59); empty: no key images."""
    stored: bool = False
    """The centre has them."""
    delivery: Literal["", "requested", "stored", "failed", "no-pacs"] = ""
    """Into the applicant hospital's PACS."""
    delivered_at: datetime | None = None
    failure: str = ""


class WorkingDraft(BaseModel):
    """The report as its author is writing it: theirs (and a second reader's) alone. Kept beside the case."""

    consult_id: str
    author: str
    author_name: str
    revision: int = 0
    """Counts the saves: a save names the revision it was made on."""
    saved_at: datetime | None = None
    text: ReportText = ReportText()
