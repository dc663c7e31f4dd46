"""The application as a form: what its fields say, as the consult service wants it, and back. Pure."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from gateway.usecases.case_studies import read_refs
from imaging_common.ids import is_uid
from imaging_common.index.model import StudyDocument

URGENCIES = ("routine", "urgent", "emergency")
TARGETS = ("hospital", "department", "expert", "auto")
CONSENTS = ("written", "verbal", "emergency-exception")
KINDS = ("document", "picture", "lab", "consent")
SUBSPECIALTIES = ("neuro", "chest", "cardiac", "abdomen", "musculoskeletal", "breast", "urogenital", "paediatric")
LINES = ("consultant_hospital", "department", "nominee", "subspecialty", "applicant_department", "applicant_phone")
TEXTS = ("chief_complaint", "history", "purpose")
MAX_LINE, MAX_TEXT = 200, 8000
ALWAYS = ("studies", "purpose")
REQUIRED: Mapping[str, tuple[str, ...]] = {
    "emergency": (*ALWAYS, "applicant_phone"),
    "urgent": (*ALWAYS, "applicant_phone", "chief_complaint", "consent"),
    "routine": (*ALWAYS, "chief_complaint", "history", "diagnoses", "consent"),
}
"""What the form marks for each urgency while one chooses; whether it is filled, the consult service says."""


def read_application(form: Mapping[str, Sequence[str]], zone: ZoneInfo) -> dict[str, Any]:
    """An `Application` of the consult service, without its patient; what does not fit is left out."""

    def one(name: str) -> str:
        values = form.get(name, ())
        return values[0].strip() if values else ""

    def choice(name: str, choices: Sequence[str], otherwise: str) -> str:
        return one(name) if one(name) in choices else otherwise

    def lines(name: str, most: int) -> list[str]:
        return [line for value in form.get(name, ()) if (line := value.strip()[:MAX_LINE])][:most]

    keys = [key for value in form.get("key_image", ()) if (key := read_key_image(value))]
    studies = read_refs(form.get("ref", ()))
    target = choice("target_kind", TARGETS, "hospital")
    chosen = {f"{study.holder}/{study.study_uid}" for study in studies}
    return {
        "target_kind": target,
        **{name: one(name)[:MAX_LINE] for name in LINES},
        **{name: one(name)[:MAX_TEXT] for name in TEXTS},
        "studies": [{"study_uid": study.study_uid, "holder": study.holder} for study in studies],
        "key_images": [key for key in keys if f"{key['holder']}/{key['study_uid']}" in chosen][:200],
        "diagnoses": [read_diagnosis(line) for line in lines("diagnosis", 20)],
        "examination_items": lines("examination_item", 50),
        "questions": lines("question", 20),
        "urgency": choice("urgency", URGENCIES, "routine"),
        "desired_at": _moment(one("desired_at"), zone),
        "consent": choice("consent", CONSENTS, ""),
        "workstation": one("workstation") == "yes",
    }


def read_diagnosis(line: str) -> dict[str, str]:
    """`<code>|<text>`, or a text without a code."""
    code, bar, text = line.partition("|")
    return {"code": code.strip(), "text": text.strip()} if bar else {"code": "", "text": line}


def read_key_image(value: str) -> dict[str, Any] | None:
    """`<holder>/<study>/<series>/<instance>/<frame>`; None: it names no image."""
    parts = value.split("/")
    if len(parts) != 5 or not all(is_uid(part) for part in parts[1:4]) or not parts[4].isdecimal():
        return None
    holder, study, series, instance, frame = parts
    return {
        "holder": holder, "study_uid": study, "series_uid": series, "instance_uid": instance, "frame": int(frame) or 1
    }  # fmt: skip


def key_image_value(key: Mapping[str, Any]) -> str:
    """How the form names a key image."""
    return f"{key['holder']}/{key['study_uid']}/{key['series_uid']}/{key['instance_uid']}/{key.get('frame', 1)}"


def patient_of(study: StudyDocument, name: str) -> dict[str, str]:
    """Whom the application is about, as the holder of its first study knows them."""
    patient = study.patient
    return {
        "patient_id": patient.id,
        "issuer": patient.issuer,
        "resident_id": study.resident_id or "",
        "name": name,
        "sex": patient.sex if patient.sex in ("M", "F", "O") else "",
        "birth_date": patient.birth_date,
    }


def _moment(text: str, zone: ZoneInfo) -> str | None:
    """A local time (`2026-11-24T15:00`) in UTC."""
    try:
        return datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC).isoformat() if text else None
    except ValueError:
        return None


def local_time(value: str | None, zone: ZoneInfo) -> str:
    """For `<input type="datetime-local">`."""
    return datetime.fromisoformat(value).astimezone(zone).strftime("%Y-%m-%dT%H:%M") if value else ""
