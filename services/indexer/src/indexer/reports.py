"""The rules of reports, without I/O: versions, which one counts, and to which study a report belongs."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

from imaging_common.index.names import fold, parse_person_name
from imaging_common.objects.reports import ReportManifest
from indexer.model import Document, text

SR_CLASSES = "1.2.840.10008.5.1.4.1.1.88."
PDF_CLASS = "1.2.840.10008.5.1.4.1.1.104.1"
NO_REPORTS = frozenset({"1.2.840.10008.5.1.4.1.1.88.59"})
"""Key Object Selection has an SR's form, but reports nothing."""
MAX_SEARCH = 20_000


def is_report_class(sop_class_uid: str) -> bool:
    """Whether instances of this SOP class are reports (PS3.4 B.5: Structured Report, Encapsulated PDF)."""
    structured = sop_class_uid.startswith(SR_CLASSES) and sop_class_uid not in NO_REPORTS
    return structured or sop_class_uid == PDF_CLASS


def may_report(sop_class_uid: str, header: bytes | None) -> bool:
    """Whether an instance is a report, or may be one because its PACS did not say what it is (None: not looked at)."""
    if sop_class_uid:
        return is_report_class(sop_class_uid)
    return header is None or any(mark in header for mark in (SR_CLASSES.encode(), PDF_CLASS.encode()))


def class_of(instance: Mapping[str, Any], header: Mapping[str, Any]) -> str:
    """An instance's SOP class, from its header where its PACS did not say it."""
    return str(instance["sop_class_uid"]) or text(header, "00080016")


@dataclass(frozen=True, slots=True)
class Statement:
    """An operator's word on a report."""

    study_uid: str | None
    revision: int
    user: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """A study of the report's hospital."""

    key: str
    study_uid: str
    accession: str
    patient_id: str


def version_of(manifest: ReportManifest) -> Document:
    """The `ReportVersion` that lies in the archive."""
    report = f"{manifest.hospital}/{manifest.report_key}"
    names = (
        "hospital", "report_key", "report_id", "kind", "sha256", "data_key", "media_type", "status", "issued_at",
        "received_at", "study_uid", "accession", "accession_issuer", "title", "author", "findings", "impression",
    )  # fmt: skip
    return {
        "_id": f"{report}/{manifest.sha256}",
        "report": report,
        **{name: getattr(manifest, name) for name in names},
        "patient": patient(manifest.patient_id, manifest.patient_name, manifest.birth_date, manifest.sex),
        "attachments": manifest.extra.get("attachments", []),
        "series_uid": None,
        "sop_instance_uid": None,
    }


def patient(identity: str, name: str | Mapping[str, Any] | None, birth_date: str, sex: str) -> Document:
    """`imaging_common.index.model.Patient`."""
    known = parse_person_name(name).model_dump()
    return {"id": identity, "issuer": "", "name": known, "birth_date": birth_date, "sex": sex}


def compose(
    versions: Sequence[Document], statement: Statement | None, present: Document | None, studies: Iterable[Candidate]
) -> Document:
    """The `ReportDocument` of a report.

    Parameters
    ----------
    versions
        All of them, at least one.
    present
        The document as it is; None: there is none.
    studies
        The hospital's studies that the newest version, or the statement, may mean.
    """
    newest = max(versions, key=lambda v: (v["issued_at"], v["received_at"], v["sha256"]))
    document = {
        **newest,
        "_id": newest["report"],
        "versions": len(versions),
        "match_revision": statement.revision if statement else 0,
        "matched_by": statement.user if statement else "",
        "search": search_text(versions),
        **_match(newest, statement, present or {}, list(studies)),
    }
    return document


def _match(newest: Document, statement: Statement | None, present: Document, studies: list[Candidate]) -> Document:
    """An operator's word goes before everything, then the study UID, then an accession number that means one study."""
    if newest["sop_instance_uid"]:
        gone = newest.get("gone", False)
        key = None if gone else f"{newest['hospital']}/{newest['study_uid']}"
        return {"matched": "gone" if gone else "instance", "study_key": key}
    if statement is not None:
        key = f"{newest['hospital']}/{statement.study_uid}" if statement.study_uid else None
        return {"matched": "operator", "study_key": key}
    found = find_study(newest, studies, present.get("study_key"))
    return {"matched": found[0], "study_key": found[1].key} if found else {"matched": "review", "study_key": None}


def find_study(
    report: Mapping[str, Any], studies: Iterable[Candidate], kept: str | None = None
) -> tuple[str, Candidate] | None:
    """By which statement of its own a report belongs to which study; None: no person-less answer.

    Parameters
    ----------
    kept
        The study that it belongs to already: an accession number that came to mean another one, too, changes nothing.
    """
    known = list(studies)
    by_uid = [study for study in known if report["study_uid"] and study.study_uid == report["study_uid"]]
    if by_uid:
        return "uid", by_uid[0]
    by_accession = [
        study for study in known if report["accession"] and study.accession == report["accession"]
        and _may_be_same(report["patient"]["id"], study.patient_id)
    ]  # fmt: skip
    same = [study for study in by_accession if study.key == kept]
    return ("accession", (same or by_accession)[0]) if same or len(by_accession) == 1 else None


def _may_be_same(reported: str, known: str) -> bool:
    """Whether two patient ids of one hospital do not contradict."""
    return not reported or not known or reported == known


def search_text(versions: Sequence[Document]) -> str:
    """What a search in reports looks through: the texts of all versions, names, numbers."""
    parts: dict[str, None] = {}
    for version in versions:
        for name in ("report_id", "accession", "title", "author", "findings", "impression"):
            parts[version[name]] = None
        parts |= dict.fromkeys((version["patient"]["id"], *version["patient"]["name"]["search"]))
    return fold(" ".join(part for part in parts if part))[:MAX_SEARCH]


def dicom_version(
    instance: Mapping[str, Any], header: Mapping[str, Any], key: str, now: datetime, zone: tzinfo
) -> Document:
    """The `ReportVersion` that an SR document's or an encapsulated PDF's header states (PS3.3 C.17.2, C.24.2).

    Parameters
    ----------
    instance
        The instance's document.
    key
        Its report key.
    """
    pdf = class_of(instance, header) == PDF_CLASS
    digest = hashlib.sha256(instance["header"]).hexdigest()
    report = f"{instance['holder']}/{key}"
    title = text(header, "00420010") or _meaning(header, "0040A043") or text(header, "0008103E")
    findings, impression = ("", "") if pdf else read_content(header)
    return {
        "_id": f"{report}/{digest}",
        "report": report,
        "hospital": instance["holder"],
        "report_key": key,
        "report_id": instance["sop_instance_uid"],
        "kind": "dicom-pdf" if pdf else "dicom-sr",
        "sha256": digest,
        "data_key": "",
        "media_type": "application/pdf" if pdf else "application/dicom",
        "status": _dicom_status(header, pdf=pdf),
        "issued_at": _content_time(header, zone) or now,
        "received_at": now,
        "study_uid": instance["study_uid"],
        "accession": text(header, "00080050"),
        "accession_issuer": "",
        "patient": patient(
            text(header, "00100020"), _first(header, "00100010"), text(header, "00100030"), text(header, "00100040")
        ),
        "title": title[:200],
        "author": _author(header),
        "findings": findings,
        "impression": impression,
        "attachments": [],
        "series_uid": instance["series_uid"],
        "sop_instance_uid": instance["sop_instance_uid"],
    }


def _dicom_status(header: Mapping[str, Any], *, pdf: bool) -> str:
    """Completion (0040,A491), Verification (0040,A493) and Preliminary Flag (0040,A496)."""
    if pdf:
        return "final"
    verified = text(header, "0040A493") == "VERIFIED" and text(header, "0040A491") != "PARTIAL"
    if not verified or text(header, "0040A496") == "PRELIMINARY":
        return "preliminary"
    return "amended" if _items(header, "0040A360") else "final"


def _content_time(header: Mapping[str, Any], zone: tzinfo) -> datetime | None:
    day, moment = text(header, "00080023") or text(header, "00080020"), text(header, "00080033")[:6]
    stamp = f"{day}{moment.ljust(6, '0')}"
    offset = text(header, "00080201")
    try:
        if len(offset) == 5 and offset[0] in "+-":
            return datetime.strptime(f"{stamp}{offset}", "%Y%m%d%H%M%S%z")
        return datetime.strptime(stamp, "%Y%m%d%H%M%S").replace(tzinfo=zone)
    except ValueError:
        return None


def _author(header: Mapping[str, Any]) -> str:
    """Verifying observer (0040,A075), else the physicians who read the study (0008,1060)."""
    observers = [_first(item, "0040A075") for item in _items(header, "0040A073")] or [_first(header, "00081060")]
    names = [parse_person_name(name) for name in observers if name]
    return next((n.ideographic or n.alphabetic for n in names), "").replace("^", " ").strip()[:200]


MAX_ITEMS = 5_000
_IMPRESSION = frozenset({"121077", "121076", "121073", "121072", "19005-8"})
"""Conclusion, Conclusions, Impression, Impressions (DICOM CID 7000 ff.), LOINC Impression."""


def read_content(header: Mapping[str, Any]) -> tuple[str, str]:
    """(findings, impression) of an SR document's content tree (PS3.3 C.17.3): text, codes, numbers and names."""
    lines: dict[str, list[str]] = {"findings": [], "impression": []}
    stack = [(item, "findings") for item in reversed(_items(header, "0040A730"))]
    seen = 0
    while stack and seen < MAX_ITEMS:
        item, section = stack.pop()
        seen += 1
        code = next((text(name, "00080100") for name in _items(item, "0040A043")), "")
        section = "impression" if code in _IMPRESSION else section
        value = _value(item)
        label = _meaning(item, "0040A043")
        kind = text(item, "0040A040")
        if value and kind == "TEXT":
            lines[section].append(value)
        elif value:
            lines[section].append(f"{label}: {value}" if label else value)
        elif kind == "CONTAINER" and label:
            lines[section].append(label)
        stack += [(child, section) for child in reversed(_items(item, "0040A730"))]
    return "\n".join(lines["findings"])[:200_000], "\n".join(lines["impression"])[:200_000]


def _value(item: Mapping[str, Any]) -> str:
    kind = text(item, "0040A040")
    if kind == "TEXT":
        return text(item, "0040A160").strip()
    if kind == "CODE":
        return _meaning(item, "0040A168")
    if kind == "NUM":
        measured = next(iter(_items(item, "0040A300")), {})
        unit = next((text(one, "00080100") for one in _items(measured, "004008EA")), "")
        return f"{text(measured, '0040A30A')} {unit}".strip()
    simple = {"DATE": "0040A121", "TIME": "0040A122", "DATETIME": "0040A120"}.get(kind)
    return text(item, simple) if simple else ""


def _meaning(item: Mapping[str, Any], tag: str) -> str:
    return next((text(name, "00080104") for name in _items(item, tag)), "")


def _items(item: Mapping[str, Any], tag: str) -> list[Mapping[str, Any]]:
    values = item.get(tag, {}).get("Value") or []
    return [value for value in values if isinstance(value, Mapping)]


def _first(item: Mapping[str, Any], tag: str) -> Any:
    return (item.get(tag, {}).get("Value") or [None])[0]
