"""DiagnosticReport (HL7 FHIR R4, also R5's `study`): what a RIS posts that speaks no HL7 v2."""

import base64
import binascii
import re
from datetime import UTC, date, datetime
from typing import Literal, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imaging_common.ids import is_uid
from imaging_common.objects.reports import ReportStatus
from imaging_common.reports.errors import UnreadableMessage
from imaging_common.reports.model import Attachment, ParsedReport, is_han, split_sections, tidy

MEDIA_TYPE = "application/fhir+json"
MAX_RESOURCE_BYTES = 32 * 1024 * 1024
T = TypeVar("T")
_STATES: dict[str, ReportStatus] = {
    "registered": "preliminary", "partial": "preliminary", "preliminary": "preliminary", "unknown": "preliminary",
    "final": "final", "amended": "amended", "corrected": "amended", "appended": "amended",
    "cancelled": "cancelled", "entered-in-error": "cancelled",
}  # fmt: skip


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Coding(_Part):
    code: str = ""
    display: str = ""


class _Concept(_Part):
    coding: list[_Coding] = []
    text: str = ""

    @property
    def label(self) -> str:
        return self.text or next((c.display or c.code for c in self.coding if c.display or c.code), "")


class _Identifier(_Part):
    system: str = ""
    value: str = ""
    type: _Concept = _Concept()

    def is_a(self, code: str) -> bool:
        return any(coding.code == code for coding in self.type.coding)


class _Reference(_Part):
    reference: str = ""
    display: str = ""
    identifier: _Identifier = _Identifier()


class _Name(_Part):
    text: str = ""
    family: str = ""
    given: list[str] = []


class _Contained(_Part):
    resourceType: str = ""
    id: str = ""
    identifier: list[_Identifier] = []
    name: list[_Name] = []
    birthDate: date | None = None
    gender: str = ""


class _Attachment(_Part):
    contentType: str = ""
    data: str = ""
    title: str = ""


class _DiagnosticReport(_Part):
    resourceType: Literal["DiagnosticReport"]
    identifier: list[_Identifier] = Field(min_length=1)
    status: str
    basedOn: list[_Reference] = []
    code: _Concept = _Concept()
    subject: _Reference = _Reference()
    issued: datetime | None = None
    performer: list[_Reference] = []
    resultsInterpreter: list[_Reference] = []
    imagingStudy: list[_Reference] = []
    study: list[_Reference] = []
    conclusion: str = ""
    presentedForm: list[_Attachment] = []
    contained: list[dict[str, object]] = Field(default=[], max_length=200)


def read_diagnostic_report(data: bytes) -> ParsedReport:
    """The report that a DiagnosticReport resource states.

    Raises
    ------
    UnreadableMessage
        No JSON, no DiagnosticReport, no identifier, an unknown status, a broken attachment, or nothing said.
    """
    if len(data) > MAX_RESOURCE_BYTES:
        raise UnreadableMessage("too-large", f"the resource is larger than {MAX_RESOURCE_BYTES} bytes")
    try:
        resource = _DiagnosticReport.model_validate(orjson.loads(data))
        people = [_Contained.model_validate(one) for one in resource.contained if one.get("resourceType") == "Patient"]
    except orjson.JSONDecodeError as error:
        raise UnreadableMessage("malformed", "the body is no JSON") from error
    except ValidationError as error:
        where = ".".join(str(step) for step in error.errors(include_input=False)[0]["loc"])[:100] or "resource"
        raise UnreadableMessage("malformed", f"the body is no FHIR DiagnosticReport: {where}") from error
    if resource.status not in _STATES:
        raise UnreadableMessage("status", "DiagnosticReport.status is none of FHIR's codes")
    numbers = [identifier for identifier in resource.identifier if identifier.value and not identifier.is_a("ACSN")]
    filler = next((identifier for identifier in numbers if identifier.is_a("FILL")), numbers[0] if numbers else None)
    if filler is None or len(filler.value) > 199:
        raise UnreadableMessage("no-filler-id", "DiagnosticReport.identifier has no value of at most 199 characters")
    return _parsed(resource, filler.value, people)


def _parsed(resource: _DiagnosticReport, report_id: str, people: list[_Contained]) -> ParsedReport:
    attachments, texts = _forms(resource.presentedForm)
    findings, impression = split_sections("\n".join(texts))
    impression = tidy([resource.conclusion]) or impression
    status = _STATES[resource.status]
    if not (findings or impression or attachments) and status != "cancelled":
        raise UnreadableMessage("empty-report", "the report has neither conclusion nor presentedForm")
    studies = [*resource.imagingStudy, *resource.study]
    accession = next((i for i in _identifiers(resource, studies) if i.value and i.is_a("ACSN")), _Identifier())
    person = next((one for one in people if resource.subject.reference == f"#{one.id}"), _Contained())
    patient_id = resource.subject.identifier.value or next((i.value for i in person.identifier if i.value), "")
    readers = [one.display for one in (*resource.resultsInterpreter, *resource.performer) if one.display]
    issued = resource.issued
    return ParsedReport(
        report_id=report_id,
        status=status,
        issued_at=issued if issued is None or issued.tzinfo else issued.replace(tzinfo=UTC),
        study_uid=_study_uid(studies),
        accession=accession.value[:64],
        accession_issuer=accession.system[:64],
        patient_id=patient_id[:64],
        patient_name=_name(person, resource.subject.display),
        birth_date=person.birthDate.strftime("%Y%m%d") if person.birthDate else "",
        sex={"male": "M", "female": "F", "other": "O"}.get(person.gender, ""),
        title=resource.code.label[:200],
        author=(readers or [""])[0][:200],
        findings=findings,
        impression=impression,
        attachments=tuple(attachments),
    )


def _identifiers(resource: _DiagnosticReport, studies: list[_Reference]) -> list[_Identifier]:
    return [*(reference.identifier for reference in (*resource.basedOn, *studies)), *resource.identifier]


def _study_uid(studies: list[_Reference]) -> str | None:
    for reference in studies:
        value = reference.identifier.value.removeprefix("urn:oid:")
        if reference.identifier.system == "urn:dicom:uid" and is_uid(value):
            return value
    return None


def _name(person: _Contained, display: str) -> str:
    """PN with component groups, from a contained Patient, else from the subject's display text."""
    groups = ["", ""]
    for name in person.name or [_Name(text=display)]:
        text = "^".join((name.family, " ".join(name.given))).rstrip("^") if name.family else name.text
        text = re.sub(r"[=\\\x00-\x1f]", " ", text).strip()[:64]
        groups[is_han(text)] = groups[is_han(text)] or text
    return "=".join(groups).rstrip("=")


def _forms(forms: list[_Attachment]) -> tuple[list[Attachment], list[str]]:
    """The PDFs and the plain texts among the forms; others stay in the original only."""
    attachments, texts = list[Attachment](), list[str]()
    for form in forms:
        kind = form.contentType.partition(";")[0].strip().lower()
        if kind not in ("application/pdf", "text/plain") or not form.data:
            continue
        try:
            data = base64.b64decode(form.data, validate=True)
            text = data.decode() if kind == "text/plain" else ""
        except (binascii.Error, ValueError) as error:
            raise UnreadableMessage("attachment", "presentedForm.data is no base64 of what it says") from error
        if kind == "text/plain":
            texts.append(text)
        elif data.startswith(b"%PDF-"):
            attachments.append(Attachment(kind, form.title[:100], data))
        else:
            raise UnreadableMessage("attachment", "a presentedForm says PDF and is none")
    return attachments, texts
