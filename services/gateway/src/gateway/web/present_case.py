"""One case as its page shows it: times in words, people, addresses of key images, and what each action needs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from gateway.web.i18n import HTML_LANG, Translator
from gateway.web.present import date_text
from imaging_common.index.model import SeriesDocument

FORMS: dict[str, tuple[str, ...]] = {
    "accept": (),
    "claim": (),
    "read": (),
    "acknowledge": (),
    "acknowledge-critical": ("action_taken",),
    "give-opinion": ("opinion",),
    "approve": (),
    "decline-review": ("reason",),
    "issue": (),
    "request-review": ("reviewer?",),
    "assign": ("expert",),
    "ask-panel": ("member", "question?"),
    "excuse-panel": ("panelist", "reason?"),
    "escalate": ("target", "reason?"),
    "reassign": ("expert", "reason?"),
    "release": ("reason?",),
    "return": ("reason",),
    "reject": ("reason",),
    "amend": ("reason",),
    "withdraw": ("reason?",),
}
"""What each action's form asks for, in the order of the page; `?`: may be left empty."""
AT_ONCE = ("accept", "claim", "read", "acknowledge")
"""One click; the others open a small form."""
ELSEWHERE = frozenset({"acknowledge-critical", "give-opinion", "issue", "approve", "decline-review"})
"""Shown where what they are about stands: the banner, the opinions, the editor."""
GRAVE = frozenset({"reject", "withdraw", "return"})
MARKS = frozenset({"SR", "PR", "KO", "SEG", "RTSTRUCT"})
"""Modalities of what people drew or measured."""
EMPTY: dict[str, Any] = {
    "allowed": [], "roles": [], "missing": [], "server_time": "", "second_reader_required": False, "studies": [],
    "key_images": [], "applicant_department": "", "applicant_phone": "", "patient": {}, "chief_complaint": "",
    "history": "", "diagnoses": [], "examination_items": [], "purpose": "", "questions": [], "urgency": "routine",
    "desired_at": None, "consent": "", "department": "", "nominee": "", "subspecialty": "", "expert": None,
    "expert_name": None, "expert_hospital": "", "consultant_hospital": "", "panel": [], "opinions": [],
    "parent_id": "", "parent_number": "", "children": [], "attachments": [], "limits": [], "paused_at": None,
    "overdue": False, "timeline": [], "reviewer": "", "reviewer_name": "", "review": None, "report": None,
    "amendment_reason": "", "critical": None, "routed_by": "", "workstation": False, "submitted_at": None,
    "target_kind": "hospital", "by_name": False,
}  # fmt: skip
REPORT: dict[str, Any] = {
    "findings": "", "impression": "", "recommendations": "", "positive": False, "critical": False,
    "critical_text": "", "key_images": [], "author": "", "author_name": "", "version": 1, "issued_at": None,
    "signature": None, "reviewer": None, "amendment_reason": "", "verification_code": "", "outputs": {},
}  # fmt: skip
CRITICAL: dict[str, Any] = {
    "text": "", "acknowledged_by": "", "acknowledged_name": "", "acknowledged_at": None, "action_taken": "",
}  # fmt: skip
STEP: dict[str, Any] = {"user": "", "name": "", "hospital": "", "reason": "", "about": ""}
MEMBER: dict[str, Any] = {"question": "", "excused": False, "opinion": None}
OPINION: dict[str, Any] = {"from_consult": "", "from_number": ""}
OUTPUTS: dict[str, Any] = {"stored": False, "delivery": "", "delivered_at": None, "failure": "", "pdf_sha256": ""}


@dataclass(frozen=True, slots=True)
class LimitView:
    """A time limit in words."""

    name: str
    state: str
    """`met`, `paused`, `overdue`, `near` or `running`."""
    left: str
    due_at: str


@dataclass(frozen=True, slots=True)
class Party:
    """Somebody who can be addressed in the discussion."""

    user: str
    name: str
    hospital: str


@dataclass(frozen=True, slots=True)
class MarkSeries:
    """What somebody drew or measured, as it was saved."""

    modality: str
    description: str
    date: str
    count: int
    url: str


@dataclass(frozen=True, slots=True)
class CasePage:
    """A case, ready to be shown."""

    consult: dict[str, Any]
    allowed: list[str]
    forms: list[str]
    """Actions with a form of their own here, in order."""
    limits: list[LimitView]
    parties: list[Party]
    viewer: str
    ended: bool
    lang: str
    names: Mapping[str, str] = field(default_factory=dict)

    def name(self, user: str) -> str:
        """A person's name, where the case knows it."""
        return self.names.get(user, user)

    def image_url(self, image: Mapping[str, Any]) -> str:
        """The viewer at an image."""
        return image_url(self.consult["studies"], image, self.lang)

    @staticmethod
    def picture(image: Mapping[str, Any]) -> str:
        """A small picture of an image."""
        return picture_url(image)


def present(
    consult: Mapping[str, Any], hospitals: Mapping[str, Any], t: Translator, user: str, visible: set[str]
) -> CasePage:
    """The case for this reader; `visible`: UIDs of the studies that are open to them now."""
    whole = {**EMPTY, **consult}
    patient = whole["patient"] or {}
    whole["patient"] = {**patient, "birth_date": date_text(str(patient.get("birth_date", "")))}
    if whole["report"] is not None:
        outputs = {**OUTPUTS, **(whole["report"].get("outputs") or {})}
        whole["report"] = {**REPORT, **whole["report"], "outputs": outputs}
    for name, defaults in (("timeline", STEP), ("panel", MEMBER), ("opinions", OPINION)):
        whole[name] = [{**defaults, **one} for one in whole[name]]
    if whole["critical"] is not None:
        whole["critical"] = {**CRITICAL, **whole["critical"]}
    allowed = [str(action) for action in whole["allowed"]]
    now = _time(whole["server_time"]) or datetime.now(UTC)
    parties = [one for one in _parties(whole) if one.user != user]
    names = {one.user: one.name for one in _parties(whole)}
    names |= {step["user"]: step["name"] for step in whole["timeline"] if step.get("name")}
    shown = [study["study_uid"] for study in whole["studies"] if study["study_uid"] in visible]
    return CasePage(
        consult=whole,
        allowed=allowed,
        forms=[action for action in FORMS if action in allowed and action not in ELSEWHERE],
        limits=[_limit(one, whole, now, t) for one in whole["limits"]],
        parties=parties,
        viewer=viewer_url(shown, t.language),
        ended=whole["state"] in ("acknowledged", "rejected", "withdrawn"),
        lang=t.language,
        names=names,
    )


def viewer_url(uids: Iterable[str], language: str, series: str = "", instance: str = "") -> str:
    """The viewer with these studies, at a series or an image (OHIF 3: `initialSeriesInstanceUID`, `initialSOP…`)."""
    query = {"StudyInstanceUIDs": ",".join(dict.fromkeys(uids)), "lng": HTML_LANG[language]}
    query |= {"initialSeriesInstanceUID": series} if series else {}
    query |= {"initialSOPInstanceUID": instance} if instance else {}
    return f"/viewer?{urlencode(query, safe=',')}"


def image_url(studies: Iterable[Mapping[str, Any]], image: Mapping[str, Any], language: str) -> str:
    """The viewer with the case's studies, the image's first, at the image."""
    others = [study["study_uid"] for study in studies]
    return viewer_url([image["study_uid"], *others], language, image["series_uid"], image["instance_uid"])


def picture_url(image: Mapping[str, Any]) -> str:
    """A thumbnail (PS3.18 §10.4.1.1.4)."""
    where = f"/dicomweb/hospitals/{image['holder']}/studies/{image['study_uid']}/series/{image['series_uid']}"
    return f"{where}/instances/{image['instance_uid']}/frames/{image.get('frame', 1)}/thumbnail?viewport=144,144"


def mark_series(series: Iterable[SeriesDocument], case: CasePage) -> list[MarkSeries]:
    """The saved measurements, annotations and key objects of the case's studies, the newest first."""
    drawn = [one for one in series if one.modality in MARKS]
    found = sorted(drawn, key=lambda one: one.series_date + one.series_time, reverse=True)
    studies = [study["study_uid"] for study in case.consult["studies"]]
    return [
        MarkSeries(
            modality=one.modality,
            description=one.description,
            date=f"{one.series_date[:4]}-{one.series_date[4:6]}-{one.series_date[6:8]}" if one.series_date else "",
            count=one.instance_count,
            url=viewer_url([one.study_uid, *studies], case.lang, one.series_uid),
        )
        for one in found
    ]


def people(found: Any) -> list[dict[str, str]]:
    """Experts of a search, as a chooser shows them."""
    listed = found.get("experts", []) if isinstance(found, dict) else found or []
    return [
        {
            "user": str(one["user"]),
            "name": str(one.get("name") or one["user"]),
            "hospital": str(one.get("hospital", "")),
            "about": " · ".join(str(word) for word in [one.get("department"), *one.get("subspecialties", [])] if word),
            "on_duty": "yes" if one.get("on_duty") else "",
        }
        for one in listed
        if one.get("user")
    ]


def span(seconds: float, t: Translator) -> str:
    """A stretch of time in two units at most."""
    minutes = int(abs(seconds)) // 60
    days, hours = divmod(minutes // 60, 24)
    if days:
        return t("case.span.days", days=days, hours=hours)
    return t("case.span.hours", hours=hours, minutes=minutes % 60) if hours else t("case.span.minutes", minutes=minutes)


def _limit(limit: Mapping[str, Any], case: Mapping[str, Any], now: datetime, t: Translator) -> LimitView:
    due = _time(limit["due_at"]) or now
    if limit.get("met_at"):
        met = _time(limit["met_at"]) or now
        late = met > due
        text = t("case.limit.met-late", span=span((met - due).total_seconds(), t)) if late else t("case.limit.met")
        return LimitView(limit["name"], "late" if late else "met", text, limit["due_at"])
    if case["paused_at"]:
        return LimitView(limit["name"], "paused", t("case.limit.paused"), limit["due_at"])
    left = (due - now).total_seconds()
    if left < 0:
        return LimitView(limit["name"], "overdue", t("case.limit.overdue", span=span(left, t)), limit["due_at"])
    remind = _time(limit.get("remind_at"))
    near = remind is not None and remind <= now
    text = t("case.limit.left", span=span(left, t))
    return LimitView(limit["name"], "near" if near else "running", text, limit["due_at"])


def _parties(case: Mapping[str, Any]) -> list[Party]:
    found = [Party(case["applicant"], case.get("applicant_name") or case["applicant"], case["applicant_hospital"])]
    if case["expert"]:
        hospital = case["expert_hospital"] or case["consultant_hospital"]
        found.append(Party(case["expert"], case["expert_name"] or case["expert"], hospital))
    found += [Party(one["user"], one["name"], one["hospital"]) for one in case["panel"] if not one.get("excused")]
    if case["reviewer"]:
        found.append(Party(case["reviewer"], case["reviewer_name"] or case["reviewer"], case["consultant_hospital"]))
    return list({one.user: one for one in found}.values())


def _time(value: Any) -> datetime | None:
    if isinstance(value, str) and value:
        return datetime.fromisoformat(value)
    return value if isinstance(value, datetime) else None
