"""Who is told what."""

from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest

from imaging_common.events import (
    CONSULT_EVENTS,
    EVENT_TYPES,
    REPORT_EVENTS,
    AccessGranted,
    ConsultEvent,
    ConsultPanelChanged,
    ConsultSubmitted,
    ConsultTimeLimit,
    ReportDelivered,
)
from notification.deliveries.model import group_of
from notification.deliveries.texts import SENTENCES, sentence
from notification.model import (
    CRITICAL_RULES,
    DELIVERY_RULES,
    LIMIT_RULES,
    OPINION_RULES,
    RULES,
    SETTLED,
    access_notices,
    notices,
)

NOW = datetime(2026, 11, 24, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
APPLICANT, EXPERT, PANEL, READER = "user:doctor.community", "user:expert.secondary", "user:p.tcm", "user:chief"
EXPERTS, DESK = "hospital:secondary:expert", "hospital:secondary:coordinator"
DOCTORS = "hospital:community:doctor"
PARTS = [
    {"user": "p.tcm", "hospital": "tcm", "part": "panel"},
    {"user": "chief", "hospital": "secondary", "part": "reviewer"},
]
CASE: dict[str, Any] = {
    "consult_id": "c1",
    "number": "C-20261124-0001",
    "version": {"epoch": 1, "n": 1},
    "state": "submitted",
    "applicant": "doctor.community",
    "applicant_hospital": "community",
    "consultant_hospital": "secondary",
    "studies": [],
    "at": NOW,
    "due_at": LATER,
    "report_id": "r1",
    "report_version": 2,
}


def told(kind: str, **more: Any) -> dict[str, str]:
    """Recipients and kinds, for an event of a case that has an expert and a panel."""
    event = EVENT_TYPES[kind].model_validate({**CASE, "expert": "expert.secondary", "participants": PARTS, **more})
    assert isinstance(event, ConsultEvent)
    return {notice.recipient: notice.kind for notice in notices(event, "e1", NOW)}


@pytest.mark.parametrize(
    ("kind", "more", "whom"),
    [
        ("ConsultSubmitted", {"expert": None}, {EXPERTS: "consult-submitted", DESK: "consult-submitted"}),
        ("ConsultReturned", {"by": "expert.secondary"}, {APPLICANT: "consult-returned"}),
        ("ConsultAccepted", {}, {APPLICANT: "consult-accepted"}),
        ("ConsultRejected", {}, {APPLICANT: "consult-rejected"}),
        (
            "ConsultAssigned",
            {"previous_expert": "chief"},
            {EXPERT: "consult-assigned", READER: "consult-taken-over", APPLICANT: "consult-taken"},
        ),
        ("ConsultAssigned", {"by": "expert.secondary"}, {APPLICANT: "consult-taken"}),
        (
            "ConsultReleased",
            {"previous_expert": "expert.secondary", "expert": None},
            {EXPERTS: "consult-released", DESK: "consult-released"},
        ),
        ("ConsultReadingStarted", {}, {}),
        ("ConsultReportDrafted", {}, {}),
        ("ConsultReviewRequested", {}, {READER: "review-requested"}),
        ("ConsultReviewRequested", {"participants": []}, {EXPERTS: "review-requested"}),
        ("ConsultReviewDeclined", {"reviewer": "chief"}, {EXPERT: "review-declined"}),
        ("ConsultReviewApproved", {"reviewer": "chief"}, {EXPERT: "review-approved"}),
        ("ConsultWithdrawn", {}, {EXPERT: "consult-withdrawn", PANEL: "consult-withdrawn"}),
        ("ConsultEscalated", {"child_id": "c2"}, {APPLICANT: "consult-escalated"}),
        ("ConsultPanelChanged", {"member": "p.tcm", "joined": True}, {PANEL: "opinion-requested"}),
        ("ConsultPanelChanged", {"member": "p.tcm", "joined": False}, {PANEL: "opinion-excused"}),
        ("ConsultOpinionGiven", {"member": "p.tcm"}, {EXPERT: "opinion-given"}),
        ("ConsultAcknowledged", {}, {EXPERT: "consult-acknowledged"}),
        ("ConsultAmendmentStarted", {}, {APPLICANT: "amendment-started"}),
        ("ConsultCriticalAcknowledged", {}, {EXPERT: "critical-acknowledged"}),
        (
            "ConsultCommented",
            {"comment_id": "k", "mentions": ["chief", "p.tcm"], "by": "doctor.community"},
            {READER: "comment-mentioned", PANEL: "comment-mentioned", EXPERT: "consult-commented"},
        ),
        ("ReportIssued", {}, {APPLICANT: "report-issued", PANEL: "report-issued"}),
        ("ReportAmended", {}, {APPLICANT: "report-amended", PANEL: "report-amended"}),
        (
            "ReportIssued",
            {"critical": True},
            {DOCTORS: "critical-value", PANEL: "report-issued"},
        ),
        (
            "ReportIssued",
            {"critical": True, "parent_id": "c0"},
            {DOCTORS: "critical-value", APPLICANT: "critical-value", PANEL: "report-issued"},
        ),
        ("ReportDelivered", {"outcome": "stored"}, {}),
        (
            "ReportDelivered",
            {"outcome": "failed"},
            {APPLICANT: "report-undelivered", "hospital:community:hospital-operator": "report-undelivered"},
        ),
        (
            "ConsultTimeLimit",
            {"limit": "report", "step": "escalated"},
            dict.fromkeys((EXPERT, DESK, APPLICANT), "limit-report-escalated"),
        ),
        (
            "ConsultTimeLimit",
            {"limit": "critical", "step": "overdue"},
            {DOCTORS: "limit-critical-overdue"},
        ),
    ],
)
def test_each_step_is_told_to_whom_it_concerns(kind: str, more: dict[str, Any], whom: dict[str, str]) -> None:
    assert told(kind, **more) == whom


def test_case_to_a_person_by_name_is_told_to_nobody_else_of_the_hospital() -> None:
    nominee = [{"user": "expert.outside", "hospital": "outside", "part": "nominee"}]
    named = {"by_name": True, "participants": nominee, "expert": None, "consultant_hospital": "outside"}
    assert told("ConsultSubmitted", **named) == {"user:expert.outside": "consult-submitted"}
    for kind in CONSULT_EVENTS:
        whom = told_of_everything(kind, named)
        assert not {one for one in whom if one.startswith("hospital:outside")}, kind


def told_of_everything(kind: type[ConsultEvent], more: dict[str, Any]) -> set[str]:
    """Whom this kind of event is told to, in all its forms."""
    filled = {"comment_id": "k", "child_id": "x", "member": "m", "previous_expert": "q", "reviewer": "r"}
    forms: list[dict[str, Any]] = [{"joined": True, "outcome": "failed", "limit": "report", "step": "overdue"}]
    if kind is ConsultTimeLimit:
        forms = [{"limit": limit, "step": step} for limit, step in LIMIT_RULES]
    return {one for form in forms for one in told(kind.type_name(), **{**filled, **form, **more})}


def test_every_event_and_every_form_of_it_has_its_row() -> None:
    special = {ConsultPanelChanged, ConsultTimeLimit, ReportDelivered}
    assert {*RULES, *special} == {*CONSULT_EVENTS, *REPORT_EVENTS}
    fields = ConsultTimeLimit.model_fields
    limits, steps = get_args(fields["limit"].annotation), get_args(fields["step"].annotation)
    assert set(LIMIT_RULES) == {(limit, step) for limit in limits for step in steps}
    assert set(DELIVERY_RULES) == set(get_args(ReportDelivered.model_fields["outcome"].annotation))


def test_what_is_settled_are_kinds_that_there_are_and_never_the_events_own() -> None:
    for event, kinds in SETTLED.items():
        assert all(any(known.startswith(kind) for known in SENTENCES) for kind in kinds)
        assert not any(kind.startswith(kinds) for kind, _ in RULES[event])


def test_every_kind_has_a_sentence_in_both_languages_and_a_group_of_preferences() -> None:
    tables = [*RULES.values(), *OPINION_RULES.values(), *DELIVERY_RULES.values(), CRITICAL_RULES]
    kinds = {kind for rows in tables for kind, _ in rows}
    kinds |= {f"limit-{limit}-{step}" for limit, step in LIMIT_RULES} | {"break-glass", "subscription-disabled"}
    assert kinds == set(SENTENCES)
    assert all(sentence(kind, language) for kind in kinds for language in ("zh", "en"))
    assert {group_of(kind) for kind in kinds} == {
        "work", "progress", "reports", "discussion", "limits", "operations"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "more", "urgency"),
    [
        ("ConsultSubmitted", {"urgency": "urgent"}, "urgent"),
        ("ConsultSubmitted", {"urgency": "whatever"}, "routine"),
        ("ReportIssued", {"critical": True}, "emergency"),
        ("ConsultTimeLimit", {"limit": "critical", "step": "reminder"}, "emergency"),
    ],
)
def test_notice_presses_as_the_case_does_and_a_critical_value_always(
    kind: str, more: dict[str, Any], urgency: str
) -> None:
    event = EVENT_TYPES[kind].model_validate({**CASE, **more})
    assert isinstance(event, ConsultEvent)
    assert {notice.urgency for notice in notices(event, "e1", NOW)} == {urgency}


def test_notice_holds_number_and_link_and_nothing_that_was_typed() -> None:
    event = ConsultSubmitted.model_validate({**CASE, "reason": "陈某某的影像不全"})
    notice = notices(event, "e1", NOW)[0]
    assert (notice.number, notice.link, notice.raised_at) == ("C-20261124-0001", "/portal/consults/c1", NOW)
    assert "陈" not in notice.model_dump_json()


def test_same_event_gives_the_same_notice_when_it_comes_twice() -> None:
    event = ConsultSubmitted.model_validate(CASE)
    assert notices(event, "e1", NOW)[0].notice_id == notices(event, "e1", LATER)[0].notice_id
    assert notices(event, "e1", NOW)[0].notice_id != notices(event, "e2", NOW)[0].notice_id


@pytest.mark.parametrize(("kind", "told"), [("break-glass", ["region:auditor"]), ("launch", []), ("share-link", [])])
def test_privacy_officers_are_told_of_a_broken_glass_alone(kind: str, told: list[str]) -> None:
    event = AccessGranted.model_validate(
        {"grant_id": "g" * 32, "kind": kind, "user": "dr.wu", "granted_by": "dr.wu", "at": NOW, "until": LATER}
    )
    raised = access_notices(event, "e1", NOW)
    assert [notice.recipient for notice in raised] == told
    assert raised == access_notices(event, "e1", NOW)
    for notice in raised:
        assert (notice.kind, notice.number, notice.link) == ("break-glass", "BG-gggggggg", "/portal/audit")
        assert "dr.wu" not in notice.model_dump_json()
