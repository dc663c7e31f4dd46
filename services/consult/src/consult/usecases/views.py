"""What a person is shown of a case: the case, their parts in it, and what they may do now."""

from datetime import UTC, datetime

from consult.errors import Conflict
from consult.model import PAUSED, TRANSITIONS, Action, Consult, Role, missing, roles_of
from consult.model.rules import blocked
from imaging_common.auth import Claims


class CaseView(Consult):
    """A case for one person. Pages show what is `allowed` and compute nothing."""

    allowed: list[Action]
    """The actions this person may take now."""
    roles: list[Role]
    server_time: datetime
    second_reader_required: bool
    missing: list[str]
    """Names of the fields that its application lacks before it can be submitted."""


def view_of(consult: Consult, claims: Claims, second_reader: bool) -> CaseView:
    """The case with everything that depends on who looks."""
    roles = roles_of(consult, claims)
    allowed = [
        action
        for action, row in TRANSITIONS.items()
        if consult.state in row.sources and roles & row.roles and not blocked(consult, action, claims, second_reader)
    ]
    lacking = missing(consult.application()) if consult.state in PAUSED else []
    fields = {name: getattr(consult, name) for name in Consult.model_fields}
    return CaseView(
        **fields,
        allowed=allowed,
        roles=sorted(roles),
        server_time=time_now(),
        second_reader_required=second_reader,
        missing=lacking,
    )


def time_now() -> datetime:
    """The time in whole milliseconds, as MongoDB keeps it."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def conflict(consult: Consult) -> Conflict:
    """Who was faster, and where the case is now."""
    if not consult.timeline:
        text = "the consult was changed meanwhile; read it again"
        return Conflict(text, consult.version, consult.state, consult.applicant_name or consult.applicant)
    last = consult.timeline[-1]
    by = last.name or last.user
    text = f"the consult is {consult.state} now (version {consult.version}), changed by {by}"
    return Conflict(text, consult.version, consult.state, by)
