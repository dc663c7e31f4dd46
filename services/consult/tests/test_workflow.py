"""The thin consult from application to acknowledgement, and everything that must not happen on the way."""

import pytest

from consult.adapters.fake_consults import FakeConsultStore
from consult.errors import Conflict, InvalidConsult, NotAllowed, NotFound
from consult.model import Action, Application, Consult, ReportText, State
from consult.usecases import Consults
from imaging_common.auth import Claims

DOCTOR = Claims("doctor.community", "community", frozenset({"doctor"}), "陈建国")
EXPERT = Claims("expert.secondary", "secondary", frozenset({"doctor", "expert"}), "周敏")
RIVAL = Claims("rival.secondary", "secondary", frozenset({"expert"}), "吴刚")
STRANGER = Claims("doctor.tertiary", "tertiary", frozenset({"doctor", "expert"}), "郑洁")
TEXT = ReportText(findings="右肺结节", impression="建议复查", positive=True)


def application(holder: str = "community") -> Application:
    return Application.model_validate(
        {"consultant_hospital": "secondary", "studies": [{"study_uid": "1.2.3", "holder": holder}], "purpose": "请会诊"}
    )


@pytest.fixture
def store() -> FakeConsultStore:
    return FakeConsultStore()


@pytest.fixture
def consults(store: FakeConsultStore) -> Consults:
    return Consults(store)


@pytest.fixture
async def submitted(consults: Consults) -> Consult:
    return await consults.submit(DOCTOR, application(), "key-1")


def sent(store: FakeConsultStore) -> list[str]:
    return [event.type_name() for topic, event, _ in store.sent if topic != "audit-recorded"]


async def test_case_goes_from_application_to_acknowledgement(
    consults: Consults, store: FakeConsultStore, submitted: Consult
) -> None:
    case = await consults.act(EXPERT, submitted.id, Action.ACCEPT, submitted.version)
    case = await consults.draft(EXPERT, case.id, case.version, TEXT)
    case = await consults.issue(EXPERT, case.id, case.version)
    case = await consults.act(DOCTOR, case.id, Action.ACKNOWLEDGE, case.version)
    assert case.state is State.ACKNOWLEDGED
    assert [step.action for step in case.timeline] == ["submit", "accept", "draft", "issue", "acknowledge"]
    assert sent(store) == [
        "ConsultSubmitted",
        "StudyPinned",
        "ConsultAccepted",
        "ReportIssued",
        "ConsultAcknowledged",
        "StudyReleased",
    ]
    assert len([topic for topic, _, _ in store.sent if topic == "audit-recorded"]) == 5


async def test_second_expert_is_told_who_was_faster(consults: Consults, submitted: Consult) -> None:
    await consults.act(EXPERT, submitted.id, Action.ACCEPT, submitted.version)
    with pytest.raises(Conflict) as caught:
        await consults.act(RIVAL, submitted.id, Action.ACCEPT, submitted.version)
    assert caught.value.by == "周敏"


async def test_stranger_does_not_learn_that_a_case_exists(consults: Consults, submitted: Consult) -> None:
    with pytest.raises(NotFound):
        await consults.get(STRANGER, submitted.id)
    with pytest.raises(NotFound):
        await consults.act(STRANGER, submitted.id, Action.ACCEPT, submitted.version)


async def test_applicant_cannot_send_another_hospitals_study(consults: Consults) -> None:
    with pytest.raises(NotAllowed):
        await consults.submit(DOCTOR, application(holder="secondary"), None)


async def test_applicant_cannot_accept_their_own_case(consults: Consults, submitted: Consult) -> None:
    with pytest.raises(NotAllowed):
        await consults.act(DOCTOR, submitted.id, Action.ACCEPT, submitted.version)


async def test_draft_is_seen_by_its_author_only(consults: Consults, submitted: Consult) -> None:
    case = await consults.act(EXPERT, submitted.id, Action.ACCEPT, submitted.version)
    case = await consults.draft(EXPERT, case.id, case.version, TEXT)
    assert (await consults.get(EXPERT, case.id)).report is not None
    assert (await consults.get(DOCTOR, case.id)).report is None


async def test_report_is_not_issued_when_it_says_nothing(consults: Consults, submitted: Consult) -> None:
    case = await consults.act(EXPERT, submitted.id, Action.ACCEPT, submitted.version)
    case = await consults.draft(EXPERT, case.id, case.version, ReportText(findings="右肺结节"))
    with pytest.raises(InvalidConsult):
        await consults.issue(EXPERT, case.id, case.version)


async def test_same_request_makes_one_case(consults: Consults, store: FakeConsultStore, submitted: Consult) -> None:
    again = await consults.submit(DOCTOR, application(), "key-1")
    assert again.id == submitted.id
    assert len(store.consults) == 1


async def test_rejection_needs_a_reason(consults: Consults, submitted: Consult) -> None:
    with pytest.raises(InvalidConsult):
        await consults.act(EXPERT, submitted.id, Action.REJECT, submitted.version)
