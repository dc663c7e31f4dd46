"""One level up: a case of its own, whose report comes back as an opinion."""

import pytest

from consult.errors import InvalidConsult, NotFound
from consult.model import Action, State, Target
from imaging_common.events import ConsultEscalated, ConsultOpinionGiven, ConsultSubmitted, ConsultWithdrawn

from .conftest import Parts
from .people import DOCTOR, EXPERT, PROFESSOR, STRANGER, TEXT, Desk

UP = Target(target_kind="hospital", consultant_hospital="tertiary")


async def test_report_of_the_case_above_becomes_an_opinion_of_the_case_below(parts: Parts, desk: Desk) -> None:
    store = parts.store
    case = await desk.do(EXPERT, await desk.to(State.DRAFTED), Action.ASK_PANEL, member=STRANGER.user)
    case = await desk.do(STRANGER, case, Action.GIVE_OPINION)
    case = await desk.do(EXPERT, case, Action.ESCALATE, target=UP)
    child = store.consults[case.children[0]]
    assert (child.applicant, child.applicant_hospital, child.parent_id) == (EXPERT.user, "secondary", case.id)
    assert [(one.by, one.text) for one in child.opinions] == [
        (STRANGER.user, "不需手术"),
        (EXPERT.user, "请上级会诊\n\n建议复查"),
    ]
    assert (child.studies, child.state, case.timeline[-1].about) == (case.studies, State.SUBMITTED, child.number)
    (told,) = [event for _, event, _ in store.sent if isinstance(event, ConsultEscalated)]
    assert (told.child_id, told.consult_id) == (child.id, case.id)
    assert [event.parent_id for _, event, _ in store.sent if isinstance(event, ConsultSubmitted)] == ["", case.id]
    with pytest.raises(NotFound):
        await desk.consults.get(DOCTOR, child.id)

    above = await desk.do(PROFESSOR, child, Action.CLAIM)
    above = await desk.write(PROFESSOR, await desk.do(PROFESSOR, above, Action.READ))
    await desk.do(PROFESSOR, above, Action.ISSUE)
    parent = store.consults[case.id]
    assert (parent.version, parent.state) == (case.version + 1, State.DRAFTED)
    assert [(one.by, one.text, one.from_consult) for one in parent.opinions] == [(PROFESSOR.user, "建议复查", child.id)]
    (given,) = [
        event for _, event, _ in store.sent if isinstance(event, ConsultOpinionGiven) and event.member == PROFESSOR.user
    ]
    assert (given.consult_id, given.version.n) == (case.id, parent.version)


async def test_later_version_takes_the_place_of_the_first_opinion(parts: Parts, desk: Desk) -> None:
    case = await desk.do(EXPERT, await desk.to(State.READING), Action.ESCALATE, target=UP)
    above = await desk.do(PROFESSOR, parts.store.consults[case.children[0]], Action.CLAIM)
    above = await desk.write(PROFESSOR, await desk.do(PROFESSOR, above, Action.READ))
    above = await desk.do(PROFESSOR, above, Action.ISSUE)
    above = await desk.do(PROFESSOR, above, Action.AMEND)
    above = await desk.write(PROFESSOR, above, TEXT.model_copy(update={"impression": "恶性可能"}))
    await desk.do(PROFESSOR, above, Action.ISSUE)
    assert [one.text for one in parts.store.consults[case.id].opinions] == ["恶性可能"]


async def test_open_case_above_ends_with_the_case_below(parts: Parts, desk: Desk) -> None:
    case = await desk.do(EXPERT, await desk.to(State.READING), Action.ESCALATE, target=UP)
    await desk.do(DOCTOR, case, Action.WITHDRAW)
    child = parts.store.consults[case.children[0]]
    assert (child.state, child.version) == (State.WITHDRAWN, 2)
    assert [e.consult_id for _, e, _ in parts.store.sent if isinstance(e, ConsultWithdrawn)] == [case.id, child.id]


@pytest.mark.parametrize(
    "target",
    [
        Target(target_kind="hospital", consultant_hospital="community"),
        Target(target_kind="expert", consultant_hospital="outside", nominee="expert.outside"),
        Target(target_kind="hospital"),
        None,
    ],
)
async def test_case_goes_one_level_up_to_somebody(parts: Parts, desk: Desk, target: Target | None) -> None:
    case = await desk.to(State.READING)
    with pytest.raises(InvalidConsult):
        await desk.do(EXPERT, case, Action.ESCALATE, target=target)
    assert (len(parts.store.consults), parts.store.consults[case.id].version) == (1, case.version)
