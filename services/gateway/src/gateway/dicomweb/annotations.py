"""What readers may store from the viewer: measurements, presentation states, key object selections, and nothing else.

A store request's body enters; its instances leave, judged: taken, or refused with a reason (PS3.18 §10.5, Annex I).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.message import Message
from typing import Any

from python_multipart.multipart import MultipartParser, parse_options_header

from imaging_common.dicom.errors import RejectedInstance
from imaging_common.dicom.gate import check_instance

DICOM = "application/dicom"
MAX_PARTS = 100
MAX_BOUNDARY = 70
MAX_HEADER_BYTES = 4096

# Failure Reason (0008,1197), PS3.18 Table I.2-2
PROCESSING_FAILURE = 0x0110
CLASS_NOT_SUPPORTED = 0x0122
DOES_NOT_MATCH = 0xA900
CANNOT_UNDERSTAND = 0xC000

_SR = "1.2.840.10008.5.1.4.1.1.88."
_PR = "1.2.840.10008.5.1.4.1.1.11."
ANNOTATION_CLASSES = frozenset(
    {f"{_SR}{n}" for n in ("11", "22", "33", "34", "35")}  # Basic Text, Enhanced, Comprehensive, Comprehensive 3D, Ext.
    | {f"{_PR}{n}" for n in range(1, 13)}  # presentation states, PS3.4 B.5
    | {f"{_SR}59"}  # Key Object Selection Document
)
ANNOTATION_MODALITIES = frozenset({"SR", "PR", "KO"})


class BadStoreRequest(ValueError):
    """The body is no store request; `status` is the HTTP status to answer."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class Annotation:
    """One instance that may be stored, if its study is open to the reader."""

    data: bytes
    study_uid: str
    series_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    patient_id: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """One instance that is not stored. The UIDs are empty where the bytes do not tell them."""

    failure_reason: int
    text: str
    sop_class_uid: str = ""
    sop_instance_uid: str = ""


def refuse(annotation: Annotation, failure_reason: int, text: str) -> Refusal:
    """The refusal of an instance that was understood."""
    return Refusal(failure_reason, text, annotation.sop_class_uid, annotation.sop_instance_uid)


def judge_part(data: bytes, study_uid: str | None) -> Annotation | Refusal:
    """Judge one Part 10 file by itself; blocking.

    Parameters
    ----------
    study_uid
        The study that the address names; None: any.
    """
    try:
        checked = check_instance(data, with_digests=False)
    except RejectedInstance as error:
        return Refusal(CANNOT_UNDERSTAND, str(error))
    annotation = Annotation(
        data,
        checked.study_uid,
        checked.series_uid,
        checked.sop_instance_uid,
        checked.sop_class_uid,
        _text(checked.header, "00100020"),
    )
    if checked.sop_class_uid not in ANNOTATION_CLASSES or checked.pixel_sha256 is not None:
        return refuse(annotation, CLASS_NOT_SUPPORTED, "only SR, presentation states and key objects are taken")
    if _text(checked.header, "00080060") not in ANNOTATION_MODALITIES:
        return refuse(annotation, DOES_NOT_MATCH, "the modality is none of SR, PR, KO")
    if study_uid is not None and checked.study_uid != study_uid:
        return refuse(annotation, DOES_NOT_MATCH, "it belongs to another study than the address names")
    return annotation


def boundary_of(content_type: str) -> bytes:
    """The boundary of `multipart/related; type="application/dicom"` (PS3.18 §8.6.1.2).

    Raises
    ------
    BadStoreRequest
        415 for another media type, 400 without a usable boundary.
    """
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/related" or options.get(b"type", DICOM.encode()).lower() != DICOM.encode():
        raise BadStoreRequest(415, 'the body must be multipart/related with type="application/dicom"')
    boundary = options.get(b"boundary", b"")
    if not 0 < len(boundary) <= MAX_BOUNDARY:
        raise BadStoreRequest(400, "Content-Type has no usable boundary (RFC 2046 §5.1.1)")
    return boundary


@dataclass
class _Parts:
    """Collects the parts of a body that is in memory."""

    bodies: list[bytearray] = field(default_factory=list)
    header: bytes = b""
    value: bytes = b""
    complete: bool = False

    def begin(self) -> None:
        """A part begins."""
        if len(self.bodies) == MAX_PARTS:
            raise BadStoreRequest(413, f"a request holds at most {MAX_PARTS} instances")
        self.bodies.append(bytearray())

    def name(self, data: bytes, start: int, end: int) -> None:
        """Some of a header's name."""
        self.header = (self.header + data[start:end])[:MAX_HEADER_BYTES]

    def worth(self, data: bytes, start: int, end: int) -> None:
        """Some of a header's value."""
        self.value = (self.value + data[start:end])[:MAX_HEADER_BYTES]

    def header_end(self) -> None:
        """A header is complete."""
        if self.header.lower() == b"content-type":
            message = Message()
            message["Content-Type"] = self.value.decode("latin-1")
            if message.get_content_type() != DICOM:
                raise BadStoreRequest(415, "every part must be application/dicom (PS3.18 §10.5.1)")
        self.header = self.value = b""

    def data(self, data: bytes, start: int, end: int) -> None:
        """Some of a part's bytes."""
        self.bodies[-1] += data[start:end]

    def end(self) -> None:
        """The closing boundary came."""
        self.complete = True


def parts_of(body: bytes, boundary: bytes) -> list[bytes]:
    """The parts of a body, which are all `application/dicom`; blocking.

    Raises
    ------
    BadStoreRequest
        It is malformed, ends early, or has no parts or too many.
    """
    parts = _Parts()
    callbacks: Any = {
        "on_part_begin": parts.begin,
        "on_header_field": parts.name,
        "on_header_value": parts.worth,
        "on_header_end": parts.header_end,
        "on_part_data": parts.data,
        "on_end": parts.end,
    }
    try:
        MultipartParser(boundary, callbacks).write(body)
    except BadStoreRequest:
        raise
    except ValueError as error:
        raise BadStoreRequest(400, f"the multipart body is malformed: {type(error).__name__}") from error
    if not parts.complete or not parts.bodies:
        raise BadStoreRequest(400, "the multipart body ends before its closing boundary, or has no parts")
    return [bytes(part) for part in parts.bodies]


def store_answer(stored: Sequence[Mapping[str, Any]], refused: Sequence[Refusal]) -> tuple[int, dict[str, Any]]:
    """The status (PS3.18 Table 10.5.3-1) and the Store Instances Response Module (Table I.1-1) as DICOM JSON.

    Parameters
    ----------
    stored
        The answers of the ingest, one per holder.
    """
    document: dict[str, Any] = {}
    for tag in ("00081199", "00081198", "0008119A"):
        items = [item for answer in stored for item in answer.get(tag, {}).get("Value", [])]
        items += [_item(one) for one in refused if tag == ("00081198" if one.sop_instance_uid else "0008119A")]
        if items:
            document[tag] = {"vr": "SQ", "Value": items}
    urls = [answer["00081190"] for answer in stored if "00081190" in answer]
    document["00081190"] = urls[0] if len(urls) == 1 else {"vr": "UR"}
    failed = "00081198" in document or "0008119A" in document
    return (200 if not failed else 202 if "00081199" in document else 409), document


def _item(refusal: Refusal) -> dict[str, Any]:
    reference = {
        "00081150": {"vr": "UI", "Value": [refusal.sop_class_uid]},
        "00081155": {"vr": "UI", "Value": [refusal.sop_instance_uid]},
    }
    failure = {
        "00081197": {"vr": "US", "Value": [refusal.failure_reason]},
        "00000902": {"vr": "LO", "Value": [refusal.text[:64]]},
    }
    return {**reference, **failure} if refusal.sop_instance_uid else failure


def _text(header: Mapping[str, Any], tag: str) -> str:
    return str((header.get(tag, {}).get("Value") or [""])[0]).strip()
