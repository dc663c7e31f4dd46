"""A signature counts only within minutes of its author's sign-in."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from consult.errors import Reauthenticate
from consult.model import Action, Consult, State
from consult.usecases.signing import FreshSignIn

from .people import EXPERT

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
CASE = Consult.model_construct(id="c1", state=State.DRAFTED)


async def sign(action: Action, minutes_ago: float | None) -> None:
    when = None if minutes_ago is None else NOW - timedelta(minutes=minutes_ago)
    await FreshSignIn(300).join(CASE, CASE, action, replace(EXPERT, authenticated_at=when), NOW)


@pytest.mark.parametrize("action", [Action.ISSUE, Action.APPROVE])
@pytest.mark.parametrize("minutes_ago", [None, 5.1, 600, -1])
async def test_signature_needs_a_sign_in_of_the_last_five_minutes(action: Action, minutes_ago: float | None) -> None:
    with pytest.raises(Reauthenticate):
        await sign(action, minutes_ago)


@pytest.mark.parametrize("minutes_ago", [0, 4.9, -0.4])
async def test_whoever_just_signed_in_signs(minutes_ago: float) -> None:
    await sign(Action.ISSUE, minutes_ago)


async def test_nothing_else_is_signed() -> None:
    await sign(Action.CLAIM, None)
