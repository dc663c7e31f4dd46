"""A case one level up: what it starts with, and what its report says to the case it came from. Pure."""

from datetime import datetime
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from consult.errors import InvalidConsult
from consult.model import ENDED, Action, Application, Consult, Opinion, Order, State, Step
from consult.model import WorkingDraft as Draft
from consult.model.rules import carried_opinions, level_above
from imaging_common.auth import Claims


def check_one_up(level: str | None, asked: str | None) -> None:
    """A case goes from the level of the hospital that was asked to the one above it."""
    above = level_above(level) if level else None
    if above is None:
        raise InvalidConsult("there is no level above this hospital's", ["target"])
    if asked != above:
        raise InvalidConsult(f"a case goes one level up: choose a {above} hospital", ["target"])


def child_of(
    parent: Consult, number: str, target: dict[str, Any], order: Order, claims: Claims, now: datetime,
    draft: Draft | None,
) -> Consult:  # fmt: skip
    """The case one level up. Its applicant is the parent's expert, or who escalates while there is none."""
    by_expert = parent.expert is not None and parent.expert != claims.user
    applicant, name = (parent.expert, parent.expert_name) if by_expert else (claims.user, claims.name)
    step = Step(
        at=now, user=claims.user, name=claims.name, hospital=claims.hospital, action=Action.SUBMIT,
        state=State.SUBMITTED, reason=order.reason, about=parent.number,
    )  # fmt: skip
    fields = parent.model_dump(include=set(Application.model_fields)) | target
    return Consult(
        **fields,
        id=uuid5(NAMESPACE_URL, f"consult:{parent.id}/{parent.version + 1}").hex,
        number=number,
        version=1,
        state=State.SUBMITTED,
        applicant=applicant or claims.user,
        applicant_name=name or "",
        applicant_hospital=parent.expert_hospital or parent.consultant_hospital,
        created_at=now,
        submitted_at=now,
        opinions=[*carried_opinions(parent), *_of_the_expert(parent, order, claims, now, draft)],
        parent_id=parent.id,
        parent_number=parent.number,
        attachments=parent.attachments,
        modalities=parent.modalities,
        body_parts=parent.body_parts,
        timeline=[step],
    )


def _of_the_expert(parent: Consult, order: Order, claims: Claims, now: datetime, draft: Draft | None) -> list[Opinion]:
    written = draft.text.impression.strip() if draft else ""
    text = "\n\n".join(part for part in (order.reason, written) if part)
    if not text:
        return []
    return [
        Opinion(
            by=claims.user, name=claims.name, hospital=claims.hospital, text=text, at=now, from_consult=parent.id,
            from_number=parent.number,
        )
    ]  # fmt: skip


def answered(parent: Consult, child: Consult, claims: Claims, now: datetime) -> Consult | None:
    """The parent with the child's report as an opinion; a later version takes the place of an earlier one.

    None: the parent has ended, and needs no opinion any more.
    """
    report = child.report
    if report is None or parent.state in ENDED:
        return None
    text = "\n\n".join(part for part in (report.impression, report.recommendations) if part.strip())
    opinion = Opinion(
        by=report.author, name=report.author_name, hospital=child.consultant_hospital, text=text, at=now,
        from_consult=child.id, from_number=child.number,
    )  # fmt: skip
    others = [known for known in parent.opinions if known.from_consult != child.id]
    step = Step(
        at=now, user=claims.user, name=claims.name, hospital=claims.hospital, action=Action.GIVE_OPINION,
        state=parent.state, about=child.number,
    )  # fmt: skip
    update = {"opinions": [*others, opinion], "version": parent.version + 1, "timeline": [*parent.timeline, step]}
    return parent.model_copy(update=update)


def ended_with(parent: Consult, child: Consult, claims: Claims, now: datetime) -> Consult | None:
    """An open child of a case that was withdrawn or rejected ends with it; None: it has its report, or has ended."""
    if child.state in ENDED or child.state is State.ISSUED or child.report is not None:
        return None
    step = Step(
        at=now, user=claims.user, name=claims.name, hospital=claims.hospital, action=Action.WITHDRAW,
        state=State.WITHDRAWN, about=parent.number,
    )  # fmt: skip
    update = {"state": State.WITHDRAWN, "version": child.version + 1, "timeline": [*child.timeline, step]}
    return child.model_copy(update=update)
