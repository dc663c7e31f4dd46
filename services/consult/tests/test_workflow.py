"""The table, row by row: who, from where, to where, told by what; and everything that must not happen on the way."""

import asyncio
import itertools
from typing import Any

import pytest

from consult.adapters.fake_consults import FakeConsultStore, FakeHospitalBook
from consult.errors import Conflict, InvalidConsult, NotAllowed, NotFound
from consult.model import ENDED, TRANSITIONS, Action, Box, Consult, Critical, ReportText, Role, State, roles_of
from consult.ports import BoxQuery
from consult.usecases import Consults, keep_hospital
from imaging_common.auth import Claims
from imaging_common.errors import PublishFailed
from imaging_common.events import (
    AuditRecorded,
    ConsultEvent,
    HospitalRegistered,
    ReportIssued,
    StudyPinned,
    StudyReleased,
)
from imaging_common.messaging import FakePublisher
from imaging_common.testing.metrics import Counted

from .conftest import Parts
from .people import (
    COLLEAGUE,
    COORDINATOR,
    DOCTOR,
    EVERYBODY,
    EXPERT,
    OUTSIDER,
    PROFESSOR,
    RIVAL,
    SHARED,
    STRANGER,
    TEXT,
    Desk,
    application,
)

UNKNOWN = "0" * 32


def sent(store: FakeConsultStore) -> list[str]:
    return [event.type_name() for topic, event, _ in store.sent if topic != "audit-recorded"]


def denials(trail: FakePublisher) -> list[tuple[str, str, str]]:
    records = [event for event in trail.events("audit-recorded") if isinstance(event, AuditRecorded)]
    return [(record.user, record.action, record.reason) for record in records if record.outcome == "denied"]


async def prepared(parts: Parts, state: State, action: Action) -> Consult:
    """A case in this state, with what the action needs (a panel, a critical value, a named reviewer is not needed)."""
    case: Consult = await parts.desk.to(state)
    if action in (Action.EXCUSE_PANEL, Action.GIVE_OPINION) and state in TRANSITIONS[Action.ASK_PANEL].sources:
        asker = EXPERT if case.expert else COORDINATOR
        case = await parts.desk.do(asker, case, Action.ASK_PANEL)
    if action is Action.ACKNOWLEDGE_CRITICAL:
        critical = Critical(text="气胸", report_version=1, raised_at=case.created_at)
        case = parts.store.consults[case.id].model_copy(update={"critical": critical})
        parts.store.consults[case.id] = case
    return parts.store.consults[case.id]


async def do(parts: Parts, claims: Claims, case: Consult, action: Action) -> Consult:
    if action is Action.DRAFT:
        return await parts.desk.write(claims, case)
    told: dict[str, Any] = {}
    if action in (Action.ASSIGN, Action.REASSIGN):
        told = {"expert": RIVAL.user}
    return await parts.desk.do(claims, case, action, **told)


@pytest.mark.parametrize(("state", "action"), list(itertools.product(State, TRANSITIONS)))
@pytest.mark.parametrize("person", EVERYBODY, ids=lambda person: person.user)
async def test_only_the_tables_transitions_happen(parts: Parts, state: State, action: Action, person: Claims) -> None:
    case = await prepared(parts, state, action)
    row, store = TRANSITIONS[action], parts.store
    count = len(store.sent)
    roles = roles_of(case, person)
    if not roles:
        with pytest.raises(NotFound):
            await do(parts, person, case, action)
    elif action is Action.DRAFT and state is State.DRAFTED and Role.EXPERT in roles:
        assert (await do(parts, person, case, action)).version == case.version
        assert len(store.sent) == count
        return
    elif state not in row.sources:
        with pytest.raises((Conflict, NotAllowed)):
            await do(parts, person, case, action)
    elif not roles & row.roles:
        with pytest.raises(NotAllowed):
            await do(parts, person, case, action)
    else:
        done = await do(parts, person, case, action)
        assert (done.state, done.version) == (row.target or state, case.version + 1)
        told = [event for _, event, _ in store.sent[count:] if isinstance(event, ConsultEvent)]
        mine = [type(event) for event in told if event.consult_id == case.id]
        assert mine == ([] if case.submitted_at is None and action is Action.WITHDRAW else [row.event])
        assert done.timeline[-1].action is action
        return
    assert (store.consults[case.id], len(store.sent)) == (case, count)


def test_every_row_has_somebody_who_can_do_it() -> None:
    assert set(TRANSITIONS) == set(Action)
    assert all(row.roles and row.sources for row in TRANSITIONS.values())
    assert not any(row.sources & ENDED - {State.ACKNOWLEDGED} for row in TRANSITIONS.values())


async def test_case_goes_from_application_to_acknowledgement(desk: Desk, store: FakeConsultStore) -> None:
    steps = Counted("imaging_consult_transitions_total", hospital="secondary", action="issue")
    read = Counted("imaging_consult_state_seconds_count", hospital="secondary", state="reading")
    told = Counted("imaging_consult_report_seconds_count", hospital="secondary", urgency="routine")
    case = await desk.to(State.ACKNOWLEDGED)
    assert (case.consultant_hospital, case.urgency) == ("secondary", "routine")
    assert (steps.grown, read.grown, told.grown) == (1, 1, 1)
    assert [step.action for step in case.timeline] == ["submit", "claim", "read", "draft", "issue", "acknowledge"]
    assert sent(store) == [
        "ConsultSubmitted",
        "StudyPinned",
        "ConsultAssigned",
        "ConsultReadingStarted",
        "ConsultReportDrafted",
        "ReportIssued",
        "ConsultAcknowledged",
        "StudyReleased",
    ]
    audited = [event for topic, event, _ in store.sent if topic == "audit-recorded"]
    actions = [record.action for record in audited if isinstance(record, AuditRecorded)]
    assert actions == ["apply", "assign", "read", "draft", "issue", "acknowledge"]


async def test_of_two_who_claim_at_once_one_wins_and_the_other_sees_who(desk: Desk, store: FakeConsultStore) -> None:
    case = await desk.apply()
    outcomes = await asyncio.gather(
        desk.do(EXPERT, case, Action.CLAIM), desk.do(RIVAL, case, Action.CLAIM), return_exceptions=True
    )
    (lost,) = [outcome for outcome in outcomes if isinstance(outcome, Conflict)]
    kept = store.consults[case.id]
    assert (lost.by, lost.state, lost.version) == (kept.expert_name, "assigned", 2)
    assert sent(store).count("ConsultAssigned") == 1


async def test_applicant_who_lost_the_role_can_no_longer_act(desk: Desk) -> None:
    case = await desk.apply()
    moved = Claims(DOCTOR.user, "secondary", frozenset({"expert"}), DOCTOR.name)
    with pytest.raises(NotAllowed):
        await desk.do(moved, case, Action.WITHDRAW)


async def test_stranger_does_not_learn_that_a_case_exists(desk: Desk, trail: FakePublisher) -> None:
    case = await desk.apply()
    told = []
    for consult_id in (case.id, UNKNOWN):
        with pytest.raises(NotFound) as caught:
            await desk.consults.get(STRANGER, consult_id)
        told.append(str(caught.value))
    assert told[0] == told[1]
    assert denials(trail) == [(STRANGER.user, "view", "no-part-in-consult")] * 2
    with pytest.raises(NotFound):
        await desk.consults.get(STRANGER, "陈建国")
    assert len(denials(trail)) == 2


async def test_case_is_not_shown_when_the_look_cannot_be_audited(desk: Desk, trail: FakePublisher) -> None:
    case = await desk.apply()
    trail.fail_with = PublishFailed("audit-recorded: away")
    with pytest.raises(PublishFailed):
        await desk.consults.get(DOCTOR, case.id)


async def test_another_hospitals_study_is_sent_only_by_who_may_see_it(parts: Parts, trail: FakePublisher) -> None:
    foreign = [{"study_uid": "1.2.9", "holder": "tertiary"}]
    assert (await parts.desk.apply(studies=foreign)).studies[0].holder == "tertiary"
    parts.access.closed.add(application(studies=foreign).studies[0])
    with pytest.raises(NotAllowed):
        await parts.desk.apply(studies=foreign)
    assert denials(trail) == [(DOCTOR.user, "apply", "study-not-visible")]


async def test_hospital_can_be_asked_once_it_is_registered(desk: Desk) -> None:
    with pytest.raises(InvalidConsult):
        await desk.apply(consultant_hospital="new-hospital")
    book = FakeHospitalBook()
    registered = HospitalRegistered(
        hospital="new-hospital", revision=2, name_zh="新", name_en="New", level="secondary", tier="central"
    )
    assert await keep_hospital(book, registered)
    assert not await keep_hospital(book, registered)
    assert await book.level("new-hospital") == "secondary"


async def test_every_study_is_pinned_and_audited_once(desk: Desk, store: FakeConsultStore) -> None:
    await desk.apply(studies=[{"study_uid": uid, "holder": "community"} for uid in ("1.2.3", "1.2.4", "1.2.3")])
    assert sent(store) == ["ConsultSubmitted", "StudyPinned", "StudyPinned"]
    assert [key for topic, _, key in store.sent if topic == "study-used"] == ["1.2.3", "1.2.4"]
    records = [event for _, event, _ in store.sent if isinstance(event, AuditRecorded)]
    assert len({record.audit_id for record in records}) == 2


async def test_draft_application_is_its_applicants_alone_until_it_is_sent(
    parts: Parts, desk: Desk, store: FakeConsultStore
) -> None:
    bare = application(history="", purpose="", consultant_hospital="")
    case = await desk.consults.apply(DOCTOR, bare, "k", token="-", draft=True)
    assert (case.missing, store.sent) == (["consultant_hospital", "history", "purpose"], [])
    for person in (COLLEAGUE, EXPERT):
        with pytest.raises(NotFound):
            await desk.consults.get(person, case.id)
    with pytest.raises(InvalidConsult) as caught:
        await desk.do(DOCTOR, case, Action.SUBMIT)
    assert caught.value.missing == case.missing
    saved = await desk.consults.save_application(DOCTOR, case.id, 1, application(), "-")
    assert (saved.version, saved.application_revision) == (case.version, 2)
    with pytest.raises(Conflict):
        await desk.consults.save_application(DOCTOR, case.id, 1, application(), "-")
    assert (await desk.do(DOCTOR, case, Action.SUBMIT)).state is State.SUBMITTED


async def test_returned_case_is_completed_and_sent_again_to_the_same_hospital(
    desk: Desk, store: FakeConsultStore
) -> None:
    case = await desk.to(State.RETURNED)
    with pytest.raises(InvalidConsult):
        await desk.consults.save_application(
            DOCTOR, case.id, case.application_revision, application(consultant_hospital="tertiary"), "-"
        )
    more = application(studies=[{"study_uid": "1.2.8", "holder": "community"}])
    await desk.consults.save_application(DOCTOR, case.id, case.application_revision, more, "-")
    case = await desk.do(DOCTOR, case, Action.SUBMIT)
    assert case.state is State.SUBMITTED
    pins = [(type(event), key) for topic, event, key in store.sent if topic == "study-used"]
    assert pins == [(StudyPinned, "1.2.3"), (StudyPinned, "1.2.8"), (StudyReleased, "1.2.3")]


async def test_report_being_written_is_seen_by_its_author_and_the_second_reader(parts: Parts, desk: Desk) -> None:
    case = await desk.to(State.DRAFTED)
    for person in (DOCTOR, COLLEAGUE, RIVAL, COORDINATOR):
        assert (await desk.consults.get(person, case.id)).report is None
        with pytest.raises(NotAllowed):
            await parts.drafts.get(person, case.id)
    await desk.do(EXPERT, case, Action.REQUEST_REVIEW)
    assert (await parts.drafts.get(RIVAL, case.id)).text == TEXT
    with pytest.raises(Conflict):
        await parts.drafts.save(EXPERT, case.id, 1, TEXT)


async def test_next_expert_starts_with_what_the_one_before_left(parts: Parts, desk: Desk) -> None:
    case = await desk.to(State.DRAFTED)
    case = await desk.do(EXPERT, case, Action.REASSIGN)
    begun = await parts.drafts.get(RIVAL, case.id)
    assert (begun.revision, begun.author, begun.text) == (0, RIVAL.user, TEXT)
    case = await desk.do(RIVAL, case, Action.READ)
    await desk.write(RIVAL, case, TEXT.model_copy(update={"impression": "良性"}))
    assert (await parts.drafts.get(EXPERT, case.id)).text == TEXT


async def test_issued_versions_never_change_and_an_amendment_is_a_new_one(
    parts: Parts, desk: Desk, store: FakeConsultStore
) -> None:
    case = await desk.to(State.ACKNOWLEDGED)
    first = case.report
    case = await desk.do(EXPERT, case, Action.AMEND)
    assert (await desk.consults.get(DOCTOR, case.id)).report == first
    assert (await parts.drafts.get(EXPERT, case.id)).text == TEXT
    case = await desk.write(EXPERT, case, TEXT.model_copy(update={"impression": "左肺结节"}))
    case = await desk.do(EXPERT, case, Action.ISSUE)
    assert case.report is not None
    assert (case.report.version, case.report.amendment_reason, case.report.impression) == (2, "左右写反", "左肺结节")
    assert [(one.version, one.impression) for one in store.versions.values()] == [(1, "建议复查"), (2, "左肺结节")]
    assert sent(store)[-4:] == ["StudyReleased", "ConsultAmendmentStarted", "StudyPinned", "ReportAmended"]


async def test_hospital_that_wants_a_second_reader_issues_nothing_without_one(parts: Parts, desk: Desk) -> None:
    parts.policies.hospitals.add("secondary")
    case = await desk.to(State.DRAFTED)
    assert case.second_reader_required
    assert Action.ISSUE not in case.allowed
    with pytest.raises(InvalidConsult):
        await desk.do(EXPERT, case, Action.ISSUE)
    case = await desk.do(EXPERT, case, Action.REQUEST_REVIEW, member=RIVAL.user)
    with pytest.raises(NotAllowed):
        await desk.do(EXPERT, case, Action.APPROVE)
    case = await desk.do(RIVAL, case, Action.APPROVE)
    case = await desk.do(EXPERT, case, Action.ISSUE)
    report = case.report
    assert report is not None
    assert report.signature is not None
    assert report.reviewer is not None
    assert (report.signature.user, report.reviewer.user) == (EXPERT.user, RIVAL.user)
    assert report.signature.authenticated_at == EXPERT.authenticated_at


async def test_report_waits_for_the_panel(desk: Desk) -> None:
    case = await desk.do(EXPERT, await desk.to(State.DRAFTED), Action.ASK_PANEL)
    with pytest.raises(InvalidConsult):
        await desk.do(EXPERT, case, Action.ISSUE)
    seen = await desk.consults.get(PROFESSOR, case.id)
    assert (seen.roles, seen.allowed) == ([Role.PANEL], [Action.GIVE_OPINION])
    case = await desk.do(PROFESSOR, case, Action.GIVE_OPINION)
    with pytest.raises(InvalidConsult):
        await desk.do(PROFESSOR, case, Action.GIVE_OPINION)
    case = await desk.do(EXPERT, case, Action.ASK_PANEL, member=STRANGER.user)
    case = await desk.do(EXPERT, case, Action.EXCUSE_PANEL, member=STRANGER.user)
    with pytest.raises(NotFound):
        await desk.consults.get(STRANGER, case.id)
    case = await desk.do(EXPERT, case, Action.ISSUE)
    await desk.do(DOCTOR, case, Action.ACKNOWLEDGE)
    with pytest.raises(NotFound):
        await desk.consults.get(PROFESSOR, case.id)


@pytest.mark.parametrize("text", [ReportText(findings="右肺结节"), TEXT.model_copy(update={"critical": True})])
async def test_report_is_not_issued_when_it_lacks_something(desk: Desk, text: ReportText) -> None:
    case = await desk.write(EXPERT, await desk.to(State.DRAFTED), text)
    with pytest.raises(InvalidConsult):
        await desk.do(EXPERT, case, Action.ISSUE)


async def test_late_withdrawal_says_why(desk: Desk) -> None:
    early = await desk.apply()
    assert (await desk.do(DOCTOR, early, Action.WITHDRAW, reason="")).state is State.WITHDRAWN
    late = await desk.to(State.READING)
    with pytest.raises(InvalidConsult):
        await desk.do(DOCTOR, late, Action.WITHDRAW, reason=" ")


async def test_named_experts_case_is_not_their_whole_hospitals(desk: Desk) -> None:
    case = await desk.apply(target_kind="expert", nominee=EXPERT.user)
    for person in (RIVAL, COORDINATOR):
        with pytest.raises(NotFound):
            await desk.consults.get(person, case.id)
    case = await desk.do(EXPERT, case, Action.CLAIM)
    assert case.by_name
    case = await desk.do(EXPERT, case, Action.REASSIGN)
    assert case.expert == RIVAL.user
    outside = await desk.apply(target_kind="expert", consultant_hospital="outside", nominee=OUTSIDER.user)
    assert (await desk.do(OUTSIDER, outside, Action.CLAIM)).by_name


async def test_share_link_has_no_part(desk: Desk) -> None:
    case = await desk.apply()
    with pytest.raises(NotFound):
        await desk.consults.get(SHARED, case.id)


async def test_same_request_makes_one_case(desk: Desk, store: FakeConsultStore) -> None:
    first, again = await desk.apply(key="key-1"), await desk.apply(key="key-1")
    assert again.id == first.id
    assert len(store.consults) == 1
    assert (await desk.apply()).number.endswith("-0002")
    with pytest.raises(InvalidConsult):
        await desk.apply(key="key-1", purpose="另一个问题")
    assert (await desk.apply(COLLEAGUE, "key-1")).id != first.id


async def page(consults: Consults, claims: Claims, box: Box, **more: Any) -> list[str]:
    cases, _ = await consults.box(BoxQuery(claims, box, **more))
    assert all(case.report is None and len(case.timeline) <= 1 for case in cases)
    return [case.id for case in cases]


async def test_each_box_holds_what_is_its_owners(parts: Parts, desk: Desk, consults: Consults) -> None:
    draft, issued = await desk.to(State.DRAFT), await desk.to(State.ISSUED)
    review = await desk.to(State.IN_REVIEW, urgency="urgent", applicant_phone="120")
    asked = await desk.do(EXPERT, await desk.to(State.READING), Action.ASK_PANEL)
    all_sent = [asked.id, review.id, issued.id]
    assert await page(consults, DOCTOR, Box.DRAFTS) == [draft.id]
    assert await page(consults, DOCTOR, Box.SENT) == all_sent
    assert await page(consults, COORDINATOR, Box.RECEIVED) == all_sent
    assert await page(consults, EXPERT, Box.MINE) == all_sent
    assert await page(consults, RIVAL, Box.REVIEW) == [review.id]
    assert await page(consults, EXPERT, Box.REVIEW) == []
    assert await page(consults, PROFESSOR, Box.PANEL) == [asked.id]
    assert await page(consults, COLLEAGUE, Box.SENT, state=State.ISSUED) == [issued.id]
    assert await page(consults, RIVAL, Box.RECEIVED, urgency="urgent") == [review.id]
    for box in Box:
        assert await page(consults, STRANGER, box) == []
    cases, more = await consults.box(BoxQuery(DOCTOR, Box.SENT, limit=2))
    assert ([case.id for case in cases], more) == (all_sent[:2], True)


async def test_issued_event_names_the_report(desk: Desk, store: FakeConsultStore) -> None:
    case = await desk.to(State.ISSUED)
    (issued,) = [event for _, event, _ in store.sent if isinstance(event, ReportIssued)]
    assert case.report is not None
    assert (issued.report_id, issued.report_version, issued.by) == (case.report.id, 1, EXPERT.user)
