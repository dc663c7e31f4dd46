"""The thin consult from application to acknowledgement, and everything that must not happen on the way."""

import itertools

import pytest

from consult.adapters.fake_consults import FakeConsultStore, FakeHospitalBook
from consult.errors import Conflict, InvalidConsult, NotAllowed, NotFound
from consult.model import ENDED, TRANSITIONS, Action, Application, Consult, ReportText, State
from consult.usecases import Consults, keep_hospital
from imaging_common.auth import Claims
from imaging_common.errors import PublishFailed
from imaging_common.events import AuditRecorded, ConsultEvent, HospitalRegistered, ReportIssued, StudyReleased
from imaging_common.messaging import FakePublisher

DOCTOR = Claims("doctor.community", "community", frozenset({"doctor"}), "陈建国")
COLLEAGUE = Claims("colleague.community", "community", frozenset({"doctor"}), "钱芳")
EXPERT = Claims("expert.secondary", "secondary", frozenset({"doctor", "expert"}), "周敏")
RIVAL = Claims("rival.secondary", "secondary", frozenset({"expert"}), "吴刚")
STRANGER = Claims("doctor.tertiary", "tertiary", frozenset({"doctor", "expert"}), "郑洁")
TEXT = ReportText(findings="右肺结节", impression="建议复查", positive=True)
UNKNOWN = "0" * 32


def application(*studies: str, holder: str = "community", to: str = "secondary") -> Application:
    named = [{"study_uid": study, "holder": holder} for study in studies or ("1.2.3",)]
    return Application.model_validate({"consultant_hospital": to, "studies": named, "purpose": "请会诊"})


@pytest.fixture
async def submitted(consults: Consults) -> Consult:
    return await consults.submit(DOCTOR, application(), "key-1")


async def test_events_say_that_workstations_may_have_the_images_when_the_applicant_allows_it(
    consults: Consults, store: FakeConsultStore
) -> None:
    allowed = application().model_copy(update={"workstation": True})
    case = await consults.submit(DOCTOR, allowed, None)
    await consults.act(EXPERT, case.id, Action.ACCEPT, case.version)
    told = [event.workstation for _, event, _ in store.sent if isinstance(event, ConsultEvent)]
    assert told == [True, True]


async def case_in(consults: Consults, state: State) -> Consult:
    """A case that was brought to this state."""
    case = await consults.submit(DOCTOR, application(), None)
    if state is State.REJECTED:
        return await consults.act(EXPERT, case.id, Action.REJECT, case.version, "无影像")
    if state in (State.ACCEPTED, State.DRAFTED, State.ISSUED, State.ACKNOWLEDGED):
        case = await consults.act(EXPERT, case.id, Action.ACCEPT, case.version)
    if state in (State.DRAFTED, State.ISSUED, State.ACKNOWLEDGED):
        case = await consults.draft(EXPERT, case.id, case.version, TEXT)
    if state in (State.ISSUED, State.ACKNOWLEDGED):
        case = await consults.issue(EXPERT, case.id, case.version)
    if state is State.ACKNOWLEDGED:
        case = await consults.act(DOCTOR, case.id, Action.ACKNOWLEDGE, case.version)
    if state is State.WITHDRAWN:
        case = await consults.act(DOCTOR, case.id, Action.WITHDRAW, case.version)
    return case


async def do(consults: Consults, claims: Claims, action: Action, case: Consult) -> Consult:
    if action is Action.DRAFT:
        return await consults.draft(claims, case.id, case.version, TEXT)
    if action is Action.ISSUE:
        return await consults.issue(claims, case.id, case.version)
    return await consults.act(claims, case.id, action, case.version, "原因")


def sent(store: FakeConsultStore) -> list[str]:
    return [event.type_name() for topic, event, _ in store.sent if topic != "audit-recorded"]


def denials(trail: FakePublisher) -> list[tuple[str, str, str]]:
    records = [event for event in trail.events("audit-recorded") if isinstance(event, AuditRecorded)]
    return [(record.user, record.action, record.reason) for record in records if record.outcome == "denied"]


async def test_case_goes_from_application_to_acknowledgement(consults: Consults, store: FakeConsultStore) -> None:
    case = await case_in(consults, State.ACKNOWLEDGED)
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
    audited = [event for topic, event, _ in store.sent if topic == "audit-recorded"]
    actions = [record.action for record in audited if isinstance(record, AuditRecorded)]
    assert actions == ["apply", "accept", "draft", "issue", "acknowledge"]


@pytest.mark.parametrize(("state", "action"), list(itertools.product(State, TRANSITIONS)))
async def test_only_the_tables_transitions_happen(
    consults: Consults, store: FakeConsultStore, state: State, action: Action
) -> None:
    case = await case_in(consults, state)
    count = len(store.sent)
    transition = TRANSITIONS[action]
    person = DOCTOR if transition.role == "applicant" else EXPERT
    if state not in transition.sources:
        with pytest.raises(Conflict):
            await do(consults, person, action, case)
        assert (store.consults[case.id].version, len(store.sent)) == (case.version, count)
        return
    done = await do(consults, person, action, case)
    assert (done.state, done.version) == (transition.target, case.version + 1)
    released = any(isinstance(event, StudyReleased) for _, event, _ in store.sent[count:])
    assert released is (transition.target in ENDED)


@pytest.mark.parametrize("action", list(TRANSITIONS))
@pytest.mark.parametrize("person", [DOCTOR, COLLEAGUE, EXPERT, RIVAL, STRANGER], ids=lambda person: person.user)
async def test_each_transition_is_its_roles_alone(
    consults: Consults, trail: FakePublisher, person: Claims, action: Action
) -> None:
    case = await case_in(consults, min(TRANSITIONS[action].sources))
    may = {
        "applicant": {DOCTOR.user},
        "consultant": {EXPERT.user, RIVAL.user},
        "expert": {EXPERT.user},
    }[TRANSITIONS[action].role]
    if person.user in may:
        assert (await do(consults, person, action, case)).state is TRANSITIONS[action].target
        assert denials(trail) == []
        return
    with pytest.raises(NotFound if person is STRANGER else NotAllowed):
        await do(consults, person, action, case)
    assert [(user, did) for user, did, _ in denials(trail)] == [(person.user, action)]


async def test_applicant_who_lost_the_role_can_no_longer_act(consults: Consults, submitted: Consult) -> None:
    moved = Claims(DOCTOR.user, "secondary", frozenset({"expert"}), DOCTOR.name)
    with pytest.raises(NotAllowed):
        await consults.act(moved, submitted.id, Action.WITHDRAW, submitted.version)


async def test_second_expert_is_told_who_was_faster(consults: Consults, submitted: Consult) -> None:
    await consults.act(EXPERT, submitted.id, Action.ACCEPT, submitted.version)
    with pytest.raises(Conflict) as caught:
        await consults.act(RIVAL, submitted.id, Action.ACCEPT, submitted.version)
    assert (caught.value.by, caught.value.state, caught.value.version) == ("周敏", "accepted", 2)


async def test_stranger_does_not_learn_that_a_case_exists(
    consults: Consults, trail: FakePublisher, submitted: Consult
) -> None:
    told = []
    for consult_id in (submitted.id, UNKNOWN):
        with pytest.raises(NotFound) as caught:
            await consults.get(STRANGER, consult_id)
        told.append(str(caught.value))
    assert told[0] == told[1]
    assert denials(trail) == [(STRANGER.user, "view", "no-part-in-consult")] * 2


async def test_what_is_no_id_is_not_written_anywhere(consults: Consults, trail: FakePublisher) -> None:
    with pytest.raises(NotFound):
        await consults.get(STRANGER, "陈建国")
    assert trail.published == []


async def test_case_is_not_shown_when_the_look_cannot_be_audited(
    consults: Consults, trail: FakePublisher, submitted: Consult
) -> None:
    trail.fail_with = PublishFailed("audit-recorded: away")
    with pytest.raises(PublishFailed):
        await consults.get(DOCTOR, submitted.id)


async def test_applicant_cannot_send_another_hospitals_study(consults: Consults, trail: FakePublisher) -> None:
    with pytest.raises(NotAllowed):
        await consults.submit(DOCTOR, application(holder="secondary"), None)
    assert denials(trail) == [(DOCTOR.user, "apply", "may-not-apply")]


async def test_hospital_can_be_asked_once_it_is_registered(store: FakeConsultStore, consults: Consults) -> None:
    with pytest.raises(InvalidConsult):
        await consults.submit(DOCTOR, application(to="new-hospital"), None)
    book = FakeHospitalBook()
    registered = HospitalRegistered(
        hospital="new-hospital", revision=2, name_zh="新", name_en="New", level="secondary", tier="central"
    )
    assert await keep_hospital(book, registered)
    assert not await keep_hospital(book, registered)
    assert await book.knows("new-hospital")


async def test_every_study_is_pinned_and_audited_once(consults: Consults, store: FakeConsultStore) -> None:
    await consults.submit(DOCTOR, application("1.2.3", "1.2.4", "1.2.3"), None)
    assert sent(store) == ["ConsultSubmitted", "StudyPinned", "StudyPinned"]
    assert [key for topic, _, key in store.sent if topic == "study-used"] == ["1.2.3", "1.2.4"]
    records = [event for _, event, _ in store.sent if isinstance(event, AuditRecorded)]
    assert [record.study_uid for record in records] == ["1.2.3", "1.2.4"]
    assert len({record.audit_id for record in records}) == 2


@pytest.mark.parametrize("end", [State.DRAFTED, State.WITHDRAWN])
async def test_draft_is_seen_by_its_author_only(consults: Consults, end: State) -> None:
    case = await case_in(consults, State.DRAFTED)
    if end is State.WITHDRAWN:
        case = await consults.act(DOCTOR, case.id, Action.WITHDRAW, case.version)
        assert case.report is None
    assert (await consults.get(EXPERT, case.id)).report is not None
    for person in (DOCTOR, COLLEAGUE, RIVAL):
        assert (await consults.get(person, case.id)).report is None


async def test_issued_report_is_frozen_and_seen_by_both_sides(consults: Consults, store: FakeConsultStore) -> None:
    case = await case_in(consults, State.ISSUED)
    with pytest.raises(Conflict):
        await consults.draft(EXPERT, case.id, case.version, ReportText(findings="改"))
    report = (await consults.get(COLLEAGUE, case.id)).report
    assert report is not None
    assert (report.impression, report.author, report.version) == ("建议复查", EXPERT.user, 1)
    (issued,) = [event for _, event, _ in store.sent if isinstance(event, ReportIssued)]
    assert (issued.report_id, issued.report_version) == (report.id, 1)


async def test_report_is_not_issued_when_it_says_nothing(consults: Consults, submitted: Consult) -> None:
    case = await consults.act(EXPERT, submitted.id, Action.ACCEPT, submitted.version)
    case = await consults.draft(EXPERT, case.id, case.version, ReportText(findings="右肺结节"))
    with pytest.raises(InvalidConsult):
        await consults.issue(EXPERT, case.id, case.version)


async def test_same_request_makes_one_case(consults: Consults, store: FakeConsultStore, submitted: Consult) -> None:
    again = await consults.submit(DOCTOR, application(), "key-1")
    assert again == submitted
    assert len(store.consults) == 1
    assert (await consults.submit(DOCTOR, application(), None)).number.endswith("-0002")


async def test_same_key_cannot_stand_for_another_application(consults: Consults, submitted: Consult) -> None:
    with pytest.raises(InvalidConsult):
        await consults.submit(DOCTOR, application("1.2.9"), "key-1")


async def test_same_key_of_another_person_is_another_request(consults: Consults, submitted: Consult) -> None:
    assert (await consults.submit(COLLEAGUE, application(), "key-1")).id != submitted.id


async def test_rejection_needs_a_reason(consults: Consults, submitted: Consult) -> None:
    with pytest.raises(InvalidConsult):
        await consults.act(EXPERT, submitted.id, Action.REJECT, submitted.version, " ")


async def test_boxes_are_paged_without_reports(consults: Consults) -> None:
    cases = [await case_in(consults, State.ISSUED) for _ in range(5)]
    page, more = await consults.box(DOCTOR, box="sent", state=None, limit=2, offset=1)
    assert [case.id for case in page] == [cases[3].id, cases[2].id]
    assert more
    assert all(case.report is None for case in page)
    page, more = await consults.box(EXPERT, box="received", state=State.ISSUED, limit=2, offset=4)
    assert [case.id for case in page] == [cases[0].id]
    assert not more


@pytest.mark.parametrize(
    ("person", "box"), [(STRANGER, "received"), (DOCTOR, "received"), (EXPERT, "sent"), (RIVAL, "sent")]
)
async def test_box_is_empty_when_the_case_is_not_theirs(
    consults: Consults, submitted: Consult, person: Claims, box: str
) -> None:
    assert await consults.box(person, box=box, state=None, limit=10, offset=0) == ([], False)


async def test_coordinator_sees_both_boxes_of_the_own_hospital(consults: Consults, submitted: Consult) -> None:
    for hospital, found in (("community", {"sent"}), ("secondary", {"received"}), ("tertiary", set())):
        person = Claims("coordinator", hospital, frozenset({"coordinator"}), "郑协调")
        boxes = {
            b for b in ("sent", "received") if (await consults.box(person, box=b, state=None, limit=9, offset=0))[0]
        }
        assert boxes == found
