"""What the table of transitions cannot say. Pure; each rule raises a `RejectedError` with what is to be done."""

from consult.errors import InvalidConsult, NotAllowed
from consult.model.application import Application, KeyImage, Study, TargetKind, missing
from consult.model.case import Consult, Opinion
from consult.model.order import Order
from consult.model.parties import DOCTOR_ROLE, is_person
from consult.model.report import ReportText
from consult.model.states import TRANSITIONS, Action, State
from imaging_common.auth import Claims

LEVELS = ("community", "secondary", "tertiary", "outside")
TAKEN = frozenset(
    {State.RETURNED, State.ACCEPTED, State.ASSIGNED, State.READING, State.DRAFTED, State.IN_REVIEW, State.APPROVED}
)
"""Somebody has begun to work on it: whoever withdraws it says why."""
TARGET_FIELDS = ("target_kind", "consultant_hospital", "department", "nominee", "subspecialty")
PERSON_NEEDED = {Action.ASSIGN, Action.REASSIGN}


def level_above(level: str) -> str | None:
    """One level up; None: there is none."""
    position = LEVELS.index(level) + 1
    return LEVELS[position] if position < len(LEVELS) else None


def may_apply(claims: Claims, application: Application) -> str | None:
    """Why a person may not apply for this; None when they may."""
    if not is_person(claims) or DOCTOR_ROLE not in claims.roles:
        return "only a doctor of a hospital can apply for a consult"
    if application.consultant_hospital == claims.hospital:
        return "choose another hospital than your own"
    return None


def needs_reason(consult: Consult, action: Action) -> bool:
    """Whether the others must be told why."""
    return TRANSITIONS[action].needs_reason or (action is Action.WITHDRAW and consult.state in TAKEN)


def check_order(consult: Consult, action: Action, order: Order) -> None:
    """What every action needs to be told."""
    if needs_reason(consult, action) and not order.reason:
        raise InvalidConsult("a reason is needed: the others must know what to do next", ["reason"])
    if action in PERSON_NEEDED and not order.expert:
        raise InvalidConsult("name the expert who gets the case", ["expert"])
    if action in (Action.ASK_PANEL, Action.EXCUSE_PANEL) and not order.member:
        raise InvalidConsult("name the expert it concerns", ["member"])
    if action is Action.GIVE_OPINION and not order.opinion:
        raise InvalidConsult("an opinion says something", ["opinion"])
    if action is Action.ACKNOWLEDGE_CRITICAL and not order.action_taken:
        raise InvalidConsult("say what is done about the critical value", ["action_taken"])


def check_application(application: Application) -> None:
    """What can be said before all is filled in: images are of the case's studies."""
    check_key_images(application.studies, application.key_images)


def check_complete(application: Application) -> None:
    """All that its urgency needs is there."""
    if lacking := missing(application):
        raise InvalidConsult(f"the application lacks: {', '.join(lacking)}", lacking)


def with_the_target_found(consult: Consult, application: Application) -> Application:
    """An application that left the choice to the region, and still does, keeps what was chosen."""
    if consult.target_kind is not TargetKind.AUTO or application.target_kind is not TargetKind.AUTO:
        return application
    return application.model_copy(update={name: getattr(consult, name) for name in TARGET_FIELDS})


def check_same_target(consult: Consult, application: Application) -> None:
    """A returned case stays with whom it was sent to: to ask somebody else, withdraw it and apply again."""
    if any(getattr(consult, name) != getattr(application, name) for name in TARGET_FIELDS):
        raise InvalidConsult("a returned case goes back to whom it came from; withdraw it to ask somebody else")


def check_key_images(studies: list[Study], images: list[KeyImage]) -> None:
    """Each image is of a study of the case."""
    known = set(studies)
    if any(Study(study_uid=image.study_uid, holder=image.holder) not in known for image in images):
        raise InvalidConsult("a key image is not of the case's studies", ["key_images"])


def check_report(text: ReportText) -> None:
    """It says what a report says."""
    lacking = [name for name in ("findings", "impression") if not getattr(text, name).strip()]
    if text.critical and not text.critical_text:
        lacking.append("critical_text")
    if lacking:
        raise InvalidConsult(f"the report lacks: {', '.join(lacking)}", lacking)


def waiting_members(consult: Consult) -> list[str]:
    """Names of those of the panel who were asked and have not answered."""
    return [member.name or member.user for member in consult.panel if member.opinion is None and not member.excused]


def check_issue(consult: Consult, text: ReportText, second_reader: bool) -> None:
    """It can be issued: it says something, the panel is complete, the second reader agrees where one is needed."""
    check_report(text)
    if waiting_members(consult):
        raise InvalidConsult("an expert who was asked has not given an opinion; wait, or excuse them", ["panel"])
    if second_reader and consult.state is not State.APPROVED:
        raise InvalidConsult("this hospital's reports need a second reader; ask for the review", ["review"])


def check_second_reader(claims: Claims, author: str) -> None:
    """Nobody approves what they wrote."""
    if claims.user == author:
        raise NotAllowed("the author of a report cannot be its second reader")


def blocked(consult: Consult, action: Action, claims: Claims, second_reader: bool) -> bool:
    """Whether a rule refuses, now and whatever this person says, what the table would allow them."""
    match action:
        case Action.ISSUE:
            return bool(waiting_members(consult)) or (second_reader and consult.state is not State.APPROVED)
        case Action.ACKNOWLEDGE_CRITICAL:
            return consult.critical is None or consult.critical.acknowledged_at is not None
        case Action.EXCUSE_PANEL:
            return not waiting_members(consult)
        case Action.GIVE_OPINION:
            return not any(
                member.user == claims.user and not member.excused and member.opinion is None for member in consult.panel
            )
        case _:
            return False


def carried_opinions(consult: Consult) -> list[Opinion]:
    """Everything that was said so far, for the case one level up: of other levels, and of the panel."""
    said = [member.opinion for member in consult.panel if member.opinion is not None and not member.excused]
    return [*consult.opinions, *said]
