"""Signing: who issues or approves a report proved a moment ago who they are. A token alone is not enough."""

from datetime import datetime, timedelta

from consult.errors import Reauthenticate
from consult.model import Action, Consult
from consult.usecases.joining import Joined
from imaging_common.auth import Claims

SIGNED = frozenset({Action.ISSUE, Action.APPROVE})
CLOCKS_DIFFER = timedelta(seconds=30)
"""By so much the provider's clock may be ahead of this one."""


class FreshSignIn:
    """A `Joiner` that adds nothing and refuses a signature by an old sign-in (`auth_time`, OpenID Connect Core §2)."""

    def __init__(self, seconds: float) -> None:
        self._longest = timedelta(seconds=seconds)

    async def join(
        self, before: Consult | None, changed: Consult, action: Action, claims: Claims, now: datetime
    ) -> Joined:
        """See `Joiner.join`.

        Raises
        ------
        Reauthenticate
            The person has to prove again who they are.
        """
        if action in SIGNED and before is not None and changed.id == before.id:
            signed_in = claims.authenticated_at
            if signed_in is None or not -CLOCKS_DIFFER <= now - signed_in <= self._longest:
                raise Reauthenticate("signing needs a fresh sign-in: prove at the provider who you are, and sign again")
        return Joined(changed)
