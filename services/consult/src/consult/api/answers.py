"""What goes wrong, as the problem that fits it."""

from collections.abc import Awaitable
from typing import TypeVar

from consult.errors import Conflict, InvalidConsult, NotAllowed, NotFound, Reauthenticate
from imaging_common.errors import RejectedError
from imaging_common.http import Problem

T = TypeVar("T")


async def answer(work: Awaitable[T]) -> T:
    """What it gives, or the problem that fits what went wrong."""
    try:
        return await work
    except RejectedError as error:
        raise problem_of(error) from error


def problem_of(error: RejectedError) -> Problem:
    """404, 403, 422 (with `missing`), 401 (with `code`) or 409 (with where the case is, and who brought it there)."""
    text = str(error)
    match error:
        case NotFound():
            return Problem(404, text)
        case NotAllowed():
            return Problem(403, text)
        case InvalidConsult():
            return Problem(422, text, missing=error.missing)
        case Reauthenticate():
            return Problem(401, text, code="reauthenticate")
        case Conflict():
            return Problem(409, text, version=error.version, state=error.state, changed_by=error.by)
        case _:
            raise error
