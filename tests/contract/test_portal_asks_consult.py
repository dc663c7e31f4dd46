"""The portal's adapters of the consult service, and the fakes its pages are tested over, against the service itself.

The service runs in this process over its own fakes; what a fake of the portal answers must have the real answer's
shape, and what a form sends must be taken.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, get_args
from zoneinfo import ZoneInfo

import httpx
import pytest
from fastapi import FastAPI

from consult.adapters.fake_consults import FakeConsultStore, FakeHospitalBook, FakePolicies, FakeStudyAccess
from consult.adapters.fake_files import FakeFiles
from consult.api import build_api
from consult.api.discussion import build_discussion_api
from consult.api.files import build_attachments_api
from consult.experts.api import ExpertList
from consult.model import Action, Application, Box, Order, Outputs, Report, ReportText, State
from consult.model.application import REQUIRED, ConsentKind, TargetKind
from consult.model.case import Critical, Member, Opinion, Step
from consult.policies.api import RevisedPolicy
from consult.policies.model import SecondReader
from consult.reports.difference import ReportDifference
from consult.reports.templates import Template, TemplateText
from consult.reports.usecases import Verified
from consult.routing.api import RoutingTable, Trial
from consult.settings import ConsultSettings
from consult.statistics.model import By, StatisticsRow
from consult.usecases import Attachments, CaseView, Consults, Discussion, Drafts
from gateway.adapters.consult_desk import HttpConsultDesk
from gateway.adapters.consults import HttpConsults
from gateway.adapters.fake_consults import NEXT, TARGETS, FakeConsults
from gateway.api.cases.actions import TYPED, order_of
from gateway.api.consult_settings import BY, FIGURES
from gateway.consult_desk import application as forms
from gateway.consult_desk import boxes, settings
from gateway.consult_desk.ports import FakeConsultDesk
from gateway.errors import ConsultConflict, ConsultNotFound, ConsultRefused
from gateway.web import present_case as case_page
from gateway.web.i18n import catalogue
from gateway.web.present_case import FORMS, REPORT
from imaging_common.audit import AuditTrail
from imaging_common.auth import Claims, InvalidToken, TokenVerifier
from imaging_common.http import create_app
from imaging_common.messaging import FakePublisher
from imaging_common.people import FakeDirectory, Person

PEOPLE = {
    "doctor": Claims("doctor.community", "community", frozenset({"doctor"}), "陈建国"),
    "expert": Claims("expert.secondary", "secondary", frozenset({"doctor", "expert"}), "周敏"),
}
FORM = {
    "ref": ["community/1.2.3"], "key_image": ["community/1.2.3/1.2.3.4/1.2.3.4.5/7"], "urgency": ["routine"],
    "target_kind": ["hospital"], "consultant_hospital": ["secondary"], "chief_complaint": ["咳嗽两周"],
    "history": ["无发热"], "diagnosis": ["R91.1|孤立性肺结节", "咳嗽"], "purpose": ["结节性质？"],
    "question": ["恶性？"], "examination_item": ["胸部平扫"], "consent": ["verbal"], "desired_at": ["2026-11-25T08:00"],
    "workstation": ["yes"],
}  # fmt: skip
"""Every field of the application form, filled in."""


class NamesAsTokens(TokenVerifier):
    """Takes a person's name as the token."""

    async def verify(self, token: str) -> Claims:
        if token not in PEOPLE:
            raise InvalidToken("the token's signature does not verify")
        return PEOPLE[token]


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    """A client of the consult service."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield

    store, audit = FakeConsultStore(), AuditTrail("consult", FakePublisher())
    directory = FakeDirectory(*(Person(one.user, one.name, one.hospital, one.roles) for one in PEOPLE.values()))
    levels = {"community": "community", "secondary": "secondary", "tertiary": "tertiary"}
    consults = Consults(store, FakeHospitalBook(**levels), audit, directory, FakePolicies(), FakeStudyAccess())
    attachments = Attachments(store, FakeFiles(), consults, audit)
    verifier = NamesAsTokens("https://id.example", "imaging-cloud")
    more = [
        build_attachments_api(attachments, verifier),
        build_discussion_api(Discussion(store, consults, directory, audit), verifier),
    ]
    app = create_app("consult", ConsultSettings(), lifespan=lifespan, checks={})
    app.include_router(build_api(consults, Drafts(store, consults), verifier, more))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://consult") as client:
        yield client


def written(**changes: list[str]) -> dict[str, Any]:
    """The application as the form sends it."""
    return forms.read_application(FORM | changes, ZoneInfo("Asia/Shanghai"))


def check_shape(fake: Any, real: Any, where: str = "answer") -> None:
    """Everything the fake answers is in the real answer, and of the same kind; None and empty lists say nothing."""
    if fake is None or real is None:
        return
    if isinstance(fake, dict):
        assert isinstance(real, dict), where
        assert fake.keys() <= real.keys(), f"{where}: only the fake has {sorted(fake.keys() - real.keys())}"
        for name, value in fake.items():
            check_shape(value, real[name], f"{where}.{name}")
    elif isinstance(fake, list):
        assert isinstance(real, list), where
        for one in fake[:1] if real else []:
            check_shape(one, real[0], f"{where}[0]")
    else:
        assert type(fake) is type(real), f"{where}: {fake!r} and {real!r}"


async def test_application_form_is_answered_alike(http: httpx.AsyncClient) -> None:
    real, fake = HttpConsultDesk(http), FakeConsultDesk()
    answers: list[list[Any]] = []
    for desk in (real, fake):
        made = await desk.start("doctor", written(purpose=[""]), "once")
        saved = await desk.save("doctor", made["id"], made["application_revision"], written(purpose=[""]))
        with pytest.raises(ConsultConflict):
            await desk.save("doctor", made["id"], made["application_revision"], written())
        with pytest.raises(ConsultRefused) as refused:
            await desk.submit("doctor", made["id"], made["version"])
        whole = await desk.save("doctor", made["id"], saved["revision"], written())
        file = await desk.attach(
            "doctor", made["id"], kind="lab", name="血常规.pdf", media_type="application/pdf", body=b"%PDF-1.4\n"
        )
        listed = (await desk.case("doctor", made["id"]))["attachments"]
        await desk.detach("doctor", made["id"], file["id"])
        sent = await desk.submit("doctor", made["id"], made["version"])
        box, more = await desk.box("doctor", {"box": "sent", "urgency": "routine", "limit": 1, "offset": 0})
        with pytest.raises(ConsultNotFound):
            await desk.case("doctor", "f" * 32)
        assert (saved["missing"], whole["missing"], sent["state"], more) == (["purpose"], [], "submitted", False)
        answers.append([made, saved, refused.value.members, whole, file, listed, sent, box])
    for of_fake, of_real in zip(answers[1], answers[0], strict=True):
        check_shape(of_fake, of_real)


async def test_case_is_answered_alike(http: httpx.AsyncClient) -> None:
    real, fake = HttpConsults(http), FakeConsults()
    fake.fresh.add("expert")
    sent = await real.send("doctor", "", written())
    fake.add(sent["id"], state="accepted", studies=sent["studies"])
    await real.act("expert", sent["id"], "accept", {"version": sent["version"]})
    where, text = sent["id"], {**TEXT, "findings": "右肺见结节", "impression": "建议复查"}
    answers: list[list[Any]] = []
    for consults in (real, fake):
        case = await consults.get("expert", where)
        with pytest.raises(ConsultConflict) as conflict:
            await consults.act("expert", where, "claim", {"version": case["version"] + 7})
        for action in ("claim", "read"):
            case = await consults.act("expert", where, action, {"version": case["version"]})
        comment = await consults.send(
            "expert", f"{where}/comments", {"text": "请看", "mentions": ["doctor.community"], "key_image": None}
        )
        comments = await consults.read("doctor", f"{where}/comments")
        empty = await consults.read("expert", f"{where}/report/draft")
        draft = await consults.keep("expert", f"{where}/report/draft", {"revision": 0, "text": text})
        with pytest.raises(ConsultConflict):
            await consults.keep("expert", f"{where}/report/draft", {"revision": 7, "text": text})
        listed = await consults.list("expert", "received")
        answers.append([case, conflict.value.members, comment, comments, empty, draft, listed])
    for of_fake, of_real in zip(answers[1], answers[0], strict=True):
        check_shape(of_fake, of_real)


TEXT: dict[str, Any] = {
    "findings": "", "impression": "", "recommendations": "", "positive": True, "critical": False,
    "critical_text": "", "key_images": [], "template": "",
}  # fmt: skip
"""A report as the editor sends it (`report-editor.js`)."""


def test_report_of_the_editor_and_of_the_page_have_the_fields_of_the_service() -> None:
    assert ReportText.model_validate(TEXT).model_dump().keys() == TEXT.keys()
    assert TEXT.keys() - {"template"} <= REPORT.keys()


def test_forms_send_what_the_service_takes() -> None:
    application = Application.model_validate(written())
    assert application.model_dump(mode="json", exclude={"patient"}).keys() == written().keys()
    typed = dict.fromkeys(TYPED, "x") | {"person": "wu|tertiary", "target_kind": "hospital"}
    typed["target_hospital"] = "tertiary"
    for action in FORMS:
        body = order_of(action, typed, 3)
        assert body.keys() == Order.model_validate(body).model_dump(exclude_unset=True).keys(), action
    row = {name: ["x"] for name in settings.ROW} | {"level": ["community"], "urgency": ["urgent"]}
    table = {"revision": 0, "rows": settings.read_rows(row)}
    assert RoutingTable.model_validate(table).model_dump() == table
    expert = {"n": ["0"], "user-0": ["wu"], "name-0": ["吴磊"], "hospital-0": ["secondary"], "department-0": ["影像科"]}
    expert |= {"subspecialties-0": ["chest"], "duty-0": ["0-day", "6-night"]}
    experts = {"revision": 0, "experts": settings.read_experts(expert)}
    assert ExpertList.model_validate(experts).model_dump() == experts
    policy = {
        "second_reader": ["by-modality"],
        "second_reader_modalities": ["ct, mr"],
        "urgent-tertiary-accept": ["30"],
    }
    policy |= {name: ["x"] for name in settings.LETTERHEAD}
    kept = {"revision": 0, **settings.read_policy(policy, forms.URGENCIES)}
    assert RevisedPolicy.model_validate(kept).model_dump(exclude_none=True) == kept
    case = {"level": "community", "subspecialty": "", "modality": "CT", "body_part": "CHEST", "urgency": "urgent"}
    assert Trial.model_validate({"case": case}).case is not None


def test_pages_read_what_the_service_says() -> None:
    read = (
        (case_page.EMPTY, CaseView), (case_page.REPORT, Report), (case_page.OUTPUTS, Outputs),
        (case_page.CRITICAL, Critical), (case_page.STEP, Step), (case_page.MEMBER, Member),
        (case_page.OPINION, Opinion),
    )  # fmt: skip
    for page, model in read:
        assert page.keys() <= model.model_fields.keys(), model
    assert set(FIGURES) == StatisticsRow.model_fields.keys()
    assert {"number", "version", "issued_at", "hospital", "latest_version"} <= Verified.model_fields.keys()
    assert {"fields", "key_images"} <= ReportDifference.model_fields.keys()
    assert {"id", "language", "name_zh", "name_en", "positive", "text"} <= Template.model_fields.keys()
    assert TemplateText.model_fields.keys() <= TEXT.keys()


def test_words_of_both_are_the_same() -> None:
    assert set(BY) == set(By)
    assert set(settings.SECOND_READER) == set(get_args(SecondReader))
    assert set(FORMS) == set(Action) - {Action.SUBMIT, Action.DRAFT}
    assert set(boxes.STATES) | {"draft"} == set(State)
    assert set(boxes.BOXES) == set(Box)
    assert forms.REQUIRED == REQUIRED
    assert set(forms.TARGETS) == set(TargetKind)
    assert {"", *forms.CONSENTS} == set(ConsentKind)
    assert set(NEXT) | set(TARGETS.values()) <= set(State)
    assert {action for allowed in NEXT.values() for action in allowed} | set(TARGETS) <= set(Action)


@pytest.mark.parametrize("language", ["zh", "en"])
def test_portal_has_words_for_everything_the_service_says(language: str) -> None:
    said = [f"consult.{state}" for state in State] + [f"step.{action}" for action in Action]
    said += [f"case.limit.{name}" for name in ("accept", "opinion", "report", "critical")]
    said += [f"case.delivery.{word}" for word in ("making", "centre", "requested", "stored", "failed", "no-pacs")]
    said += [f"case.field.{name}" for name in (*TEXT, "reason", "expert", "member", "panel", "review", "action_taken")]
    said += [f"apply.field.{name}" for name in {name for names in REQUIRED.values() for name in names}]
    assert [key for key in said if key not in catalogue(language)] == []
