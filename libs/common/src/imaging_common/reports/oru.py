"""ORU^R01: the reports in a result message (HL7 v2.5 §7.3.1, IHE RAD-28)."""

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import tzinfo
from zoneinfo import ZoneInfo

from imaging_common.ids import is_uid
from imaging_common.objects.reports import ReportStatus
from imaging_common.reports.errors import UnreadableMessage
from imaging_common.reports.hl7v2 import Message, Segment, read_time
from imaging_common.reports.model import Attachment, ParsedReport, is_han, section_of, split_sections, tidy
from imaging_common.reports.people import Person, person_of

ZONE = ZoneInfo("Asia/Shanghai")
MAX_ID = 199
_TEXT_TYPES = frozenset({"TX", "FT", "ST", "CE", "CWE", ""})
_SECTION_CODES = {"GDT": "findings", "59776-5": "findings", "IMP": "impression", "19005-8": "impression"}
_STUDY_CODES = frozenset({"113014", "110180", "ZDS"})
_REPORT_STATES: dict[str, ReportStatus] = {
    **dict.fromkeys("OISAPRYZ", "preliminary"), "F": "final", "C": "amended", "X": "cancelled",
}  # fmt: skip
"""HL7 table 0123 (OBR-25)."""
_KINDS = {"pdf": "application/pdf", "application/pdf": "application/pdf"}


@dataclass(slots=True)
class _Group:
    """An OBR and what follows it."""

    request: Segment
    order: Segment | None
    person: Person
    study_uid: str | None = None
    accession: str = ""
    results: list[Segment] = field(default_factory=list)
    """OBX, and NTE of the result before it."""


def read_reports(message: Message, zone: tzinfo = ZONE) -> list[ParsedReport]:
    """The reports of an ORU^R01, one per filler order number.

    Raises
    ------
    UnreadableMessage
        No ORU^R01, no OBR, a report without filler number, or a report that says nothing.
    """
    if message.kind != "ORU^R01":
        raise UnreadableMessage("message-type", "MSH-9: only ORU^R01 brings reports", "AR")
    groups = _groups(message)
    if not groups:
        raise UnreadableMessage("no-obr", "the message has no OBR segment")
    return [_report(message, number, group, zone) for number, group in groups.items()]


def _groups(message: Message) -> dict[str, _Group]:
    groups: dict[str, _Group] = {}
    person, order, current = Person(), None, None
    uid = (
        next((u for s in message.segments if (u := _study_uid(s))), None)
        if len(list(message.all("OBR"))) == 1
        else None
    )
    for segment in message.segments:
        if segment.name == "PID":
            person, order = person_of(segment), None
        elif segment.name == "ORC":
            order = segment
        elif segment.name == "OBR":
            filler = _filler(segment, order)
            if not filler and current is None:
                raise UnreadableMessage("no-filler-id", "OBR-3, the filler order number, is missing")
            if len(filler) > MAX_ID:
                raise UnreadableMessage("filler-id", f"OBR-3 has more than {MAX_ID} characters")
            if filler or current is None:
                current = groups.setdefault(filler, _Group(segment, order, person, uid))
        elif current is not None:
            if segment.name in ("OBX", "NTE"):
                current.results.append(segment)
            current.study_uid = current.study_uid or _study_uid(segment)
            if segment.name == "IPC":
                current.accession = current.accession or segment.part(1)
    return groups


def _filler(request: Segment, order: Segment | None) -> str:
    return request.part(3) or (order.part(3) if order else "")


def _study_uid(segment: Segment) -> str | None:
    """ZDS-1, IPC-3 or an OBX that names Study Instance UID (IHE RAD TF-2 4.28, 4.4)."""
    value = ""
    if segment.name == "ZDS":
        value = segment.part(1)
    elif segment.name == "IPC":
        value = segment.part(3)
    elif segment.name == "OBX":
        named = {segment.part(3, 1, 1), segment.part(3, 4, 1)}
        label = f"{segment.part(3, 2)} {segment.part(3, 1)}".lower().replace("_", " ")
        if named & _STUDY_CODES or "study instance uid" in label or "studyinstanceuid" in label:
            value = segment.part(5)
    return value if value and is_uid(value) else None


def _report(message: Message, number: str, group: _Group, zone: tzinfo) -> ParsedReport:
    request, order, person = group.request, group.order, group.person
    findings, impression, attachments = _contents(group.results)
    status = _status(request.field(25).strip().upper(), group.results)
    if not (findings or impression or attachments) and status != "cancelled":
        raise UnreadableMessage("empty-report", "no OBX segment holds text or a PDF")
    accession, issuer = group.accession, ""
    for segment, position in ((request, 18), (request, 3), (order, 3)):
        if not accession and segment is not None and (value := segment.part(position)):
            accession, issuer = value, segment.part(position, 2)
    issued = read_time(request.part(22), zone) or read_time(message.header.part(7), zone)
    return ParsedReport(
        report_id=number,
        status=status,
        issued_at=issued,
        study_uid=group.study_uid,
        accession=accession[:64],
        accession_issuer=issuer[:64],
        patient_id=person.id,
        patient_name=person.name,
        birth_date=person.birth_date,
        sex=person.sex,
        title=(request.part(4, 2) or request.part(4, 1))[:200],
        author=_author(group)[:200],
        findings=findings,
        impression=impression,
        attachments=attachments,
    )


def _contents(results: Iterable[Segment]) -> tuple[str, str, tuple[Attachment, ...]]:
    """(findings, impression, documents)."""
    texts: dict[str, list[str]] = {"findings": [], "impression": [], "": []}
    attachments: list[Attachment] = []
    section = ""
    for segment in results:
        if segment.name == "NTE":
            texts[section].append(segment.marks.unescape("\n".join(segment.repeats(3))))
            continue
        kind = segment.field(2).strip().upper()
        if _study_uid(segment) is not None:
            continue
        if kind in ("ED", "RP"):
            attachments += _attachment(segment) if kind == "ED" else []
        elif kind in _TEXT_TYPES:
            section = _section(segment)
            texts[section].append(_text(segment, kind))
    plain_findings, plain_impression = split_sections("\n".join(texts[""]))
    findings = tidy([plain_findings, *texts["findings"]])
    return findings, tidy([plain_impression, *texts["impression"]]), tuple(attachments)


def _section(segment: Segment) -> str:
    codes = {segment.part(3, c, s).upper() for c in (1, 4) for s in (1, 2, 3)}
    found = [_SECTION_CODES[code] for code in codes if code in _SECTION_CODES]
    return found[0] if len(set(found)) == 1 else section_of(f"{segment.part(3, 2)} {segment.part(3, 5)}")


def _text(segment: Segment, kind: str) -> str:
    if kind in ("CE", "CWE"):
        return segment.part(5, 2) or segment.part(5, 1)
    return segment.marks.unescape("\n".join(segment.repeats(5)))


def _attachment(segment: Segment) -> list[Attachment]:
    """The document of an ED value (source^type^subtype^encoding^data); other kinds stay in the original only."""
    kind = _KINDS.get((segment.part(5, 3) or segment.part(5, 2)).lower()) or _KINDS.get(segment.part(5, 2).lower())
    if kind is None or segment.part(5, 4).lower() != "base64":
        return []
    try:
        data = base64.b64decode(re.sub(r"\s", "", segment.part(5, 5)), validate=True)
    except (binascii.Error, ValueError) as error:
        raise UnreadableMessage("attachment", "OBX-5: the embedded document is no base64") from error
    if not data.startswith(b"%PDF-"):
        raise UnreadableMessage("attachment", "OBX-5: the embedded document says PDF and is none")
    return [Attachment(kind, (segment.part(3, 2) or segment.part(3, 1))[:100], data)]


def _status(report: str, results: Iterable[Segment]) -> ReportStatus:
    """OBR-25; where it is empty or final, the results' own status (OBX-11) may correct it."""
    parts = {segment.field(11).strip().upper() for segment in results if segment.name == "OBX"} - {""}
    if report not in ("", "F"):
        return _REPORT_STATES.get(report, "preliminary")
    if "C" in parts:
        return "amended"
    if report == "F":
        return "final"
    if parts and parts <= {"X", "D", "W"}:
        return "cancelled"
    return "final" if parts and parts <= {"F", "U"} else "preliminary"


def _author(group: _Group) -> str:
    """OBR-32, the principal result interpreter, else the responsible observer (OBX-16)."""
    segment = group.request
    name = [segment.part(32, 1, 2), segment.part(32, 1, 3)]
    if not any(name):
        name = [segment.part(32, 2), segment.part(32, 3)] if segment.part(32, 2) else [segment.part(32, 1, 1)]
    if not any(name):
        for result in group.results:
            if result.name == "OBX" and (result.part(16, 2) or result.part(16, 1)):
                name = [result.part(16, 2) or result.part(16, 1), result.part(16, 3)]
                break
    return ("" if is_han("".join(name)) else " ").join(part for part in name if part)
