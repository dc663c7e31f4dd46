"""The people of the tests, a complete application, and the way to each state."""

from datetime import UTC, datetime
from typing import Any

from consult.model import Action, Application, Consult, KeyImage, Order, ReportText, State, Study
from consult.usecases import CaseView, Consults, Drafts
from imaging_common.auth import Claims
from imaging_common.people import Person

SIGNED_IN = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)


def _person(user: str, hospital: str, name: str, *roles: str) -> Claims:
    return Claims(user, hospital, frozenset(roles), name, authenticated_at=SIGNED_IN)


DOCTOR = _person("doctor.community", "community", "陈建国", "doctor")
COLLEAGUE = _person("colleague.community", "community", "钱芳", "doctor")
EXPERT = _person("expert.secondary", "secondary", "周敏", "doctor", "expert")
RIVAL = _person("rival.secondary", "secondary", "吴刚", "expert")
COORDINATOR = _person("coordinator.secondary", "secondary", "郑协调", "coordinator")
PROFESSOR = _person("expert.tertiary", "tertiary", "林教授", "doctor", "expert")
STRANGER = _person("doctor.tcm", "tcm", "郑洁", "doctor", "expert")
OUTSIDER = _person("expert.outside", "outside", "Smith", "expert")
SHARED = Claims("share-1", "community", frozenset({"share-link", "doctor"}), "")
EVERYBODY = (DOCTOR, COLLEAGUE, EXPERT, RIVAL, COORDINATOR, PROFESSOR, STRANGER, OUTSIDER, SHARED)
PEOPLE = [Person(one.user, one.name, one.hospital, one.roles) for one in EVERYBODY if one is not SHARED]
LEVELS = {
    "community": "community",
    "secondary": "secondary",
    "tertiary": "tertiary",
    "tcm": "tertiary",
    "outside": "outside",
}
STUDY = Study(study_uid="1.2.3", holder="community")
KEY_IMAGE = KeyImage(study_uid="1.2.3", holder="community", series_uid="1.2.3.1", instance_uid="1.2.3.1.1")
TEXT = ReportText(findings="右肺结节", impression="建议复查", positive=True)


def application(**changes: Any) -> Application:
    """Everything a routine case needs."""
    return Application.model_validate(
        {
            "consultant_hospital": "secondary",
            "studies": [STUDY.model_dump()],
            "chief_complaint": "咳嗽两周",
            "history": "无发热",
            "diagnoses": [{"code": "R91.1", "text": "肺结节"}],
            "purpose": "请会诊",
            "consent": "verbal",
        }
        | changes
    )


class Desk:
    """The use cases as people use them."""

    def __init__(self, consults: Consults, drafts: Drafts) -> None:
        self.consults = consults
        self.drafts = drafts

    async def apply(self, claims: Claims = DOCTOR, key: str | None = None, **changes: Any) -> CaseView:
        """Submit an application."""
        return await self.consults.apply(claims, application(**changes), key, token="-")

    async def do(self, claims: Claims, case: Consult, action: Action, **told: Any) -> CaseView:
        """One action, with what it needs unless it is told otherwise."""
        order = Order(version=case.version, **(NEEDED.get(action, {}) | told))
        return await self.consults.act(claims, case.id, action, order)

    async def write(self, claims: Claims, case: Consult, text: ReportText = TEXT) -> CaseView:
        """Save the report as it is; the first save begins it."""
        draft = await self.drafts.get(claims, case.id)
        await self.drafts.save(claims, case.id, draft.revision, text)
        return await self.consults.get(claims, case.id)

    async def to(self, state: State, **changes: Any) -> CaseView:
        """A case that was brought to this state."""
        if state is State.DRAFT:
            return await self.consults.apply(DOCTOR, application(**changes), None, token="-", draft=True)
        case = await self.apply(**changes)
        for stop, claims, action in WAYS[state]:
            if action is Action.DRAFT:
                case = await self.write(claims, case)
            else:
                case = await self.do(claims, case, action)
            assert case.state is stop
        return case


NEEDED: dict[Action, dict[str, Any]] = {
    Action.RETURN: {"reason": "请补充病史"},
    Action.REJECT: {"reason": "无影像"},
    Action.ASSIGN: {"expert": EXPERT.user},
    Action.REASSIGN: {"expert": RIVAL.user},
    Action.DECLINE_REVIEW: {"reason": "请补充测量"},
    Action.AMEND: {"reason": "左右写反"},
    Action.WITHDRAW: {"reason": "病人已转院"},
    Action.ESCALATE: {"reason": "请上级会诊", "target": {"target_kind": "hospital", "consultant_hospital": "tertiary"}},
    Action.ASK_PANEL: {"member": PROFESSOR.user, "question": "是否手术？"},
    Action.EXCUSE_PANEL: {"member": PROFESSOR.user},
    Action.GIVE_OPINION: {"opinion": "不需手术"},
    Action.ACKNOWLEDGE_CRITICAL: {"action_taken": "已通知病人"},
}
Way = list[tuple[State, Claims, Action]]
_ASSIGNED: Way = [(State.ASSIGNED, EXPERT, Action.CLAIM)]
_READING: Way = [*_ASSIGNED, (State.READING, EXPERT, Action.READ)]
_DRAFTED: Way = [*_READING, (State.DRAFTED, EXPERT, Action.DRAFT)]
_IN_REVIEW: Way = [*_DRAFTED, (State.IN_REVIEW, EXPERT, Action.REQUEST_REVIEW)]
_ISSUED: Way = [*_DRAFTED, (State.ISSUED, EXPERT, Action.ISSUE)]
WAYS: dict[State, Way] = {
    State.SUBMITTED: [],
    State.RETURNED: [(State.RETURNED, EXPERT, Action.RETURN)],
    State.ACCEPTED: [(State.ACCEPTED, EXPERT, Action.ACCEPT)],
    State.ASSIGNED: _ASSIGNED,
    State.READING: _READING,
    State.DRAFTED: _DRAFTED,
    State.IN_REVIEW: _IN_REVIEW,
    State.APPROVED: [*_IN_REVIEW, (State.APPROVED, RIVAL, Action.APPROVE)],
    State.ISSUED: _ISSUED,
    State.ACKNOWLEDGED: [*_ISSUED, (State.ACKNOWLEDGED, DOCTOR, Action.ACKNOWLEDGE)],
    State.REJECTED: [(State.REJECTED, EXPERT, Action.REJECT)],
    State.WITHDRAWN: [(State.WITHDRAWN, DOCTOR, Action.WITHDRAW)],
}
