"""A subscription: its states, its secrets, when a failed delivery is tried again. Pure."""

import base64
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Literal

from pydantic import BaseModel, Field

from imaging_common.events import NoticeRaised

State = Literal["active", "disabled", "failing", "gone"]
"""`disabled` by an operator; `failing`: by the region, after hours of failures; `gone`: the receiver answered 410."""
SECRET_BYTES = 32
FIRST_RETRY_SECONDS = 1.0
LAST_RETRY_SECONDS = 300.0
OPERATORS = "region:region-operator"


class Secret(BaseModel):
    """One of the secrets that sign."""

    value: str = Field(repr=False)
    """`whsec_` and base64, as Standard Webhooks writes it."""
    expires_at: datetime | None = None
    """None: the present one; the one before it signs beside it until then."""


class Subscription(BaseModel):
    """Who gets which events of an organisation's feed where, and how far they are."""

    id: str
    organisation: str
    url: str
    types: frozenset[str] = frozenset()
    """Event types; empty: all."""
    description: str = ""
    revision: int = 1
    """Counts the changes by operators; a delivery that began before a change does not move what came after it."""
    state: State = "active"
    secrets: list[Secret] = Field(default=[], exclude=True, repr=False)
    cursor: int
    """The last number of the feed that is done with."""
    failures: int = 0
    """In a row."""
    failing_since: datetime | None = None
    next_attempt_at: datetime | None = None
    last_status: int | None = None
    """The last answer's status; None: none came."""
    last_error: str = ""
    last_answer_at: datetime | None = None
    last_success_at: datetime | None = None
    created_by: str
    created_at: datetime

    @property
    def number(self) -> str:
        """What people call it."""
        return f"S-{self.id[:8]}"


class Attempt(BaseModel):
    """One attempt at one delivery; nothing of its content."""

    seq: int
    event_id: str
    event_type: str
    at: datetime
    status: int | None = None
    error: str = ""
    milliseconds: int

    @property
    def ok(self) -> bool:
        """Taken by the receiver."""
        return self.status is not None and 200 <= self.status < 300


def new_secret() -> str:
    """A secret of 256 bits."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def valid_secrets(subscription: Subscription, now: datetime) -> list[str]:
    """Those that sign now, the present one first."""
    kept = [one for one in subscription.secrets if one.expires_at is None or one.expires_at > now]
    return [one.value for one in sorted(kept, key=lambda one: one.expires_at is not None)]


def rotated(subscription: Subscription, value: str, until: datetime) -> list[Secret]:
    """The new secret, and the present one until then; one that was on its way out ends now."""
    present = [one for one in subscription.secrets if one.expires_at is None]
    return [Secret(value=value), *(Secret(value=one.value, expires_at=until) for one in present)]


def retry_delay(failures: int, asked: float | None, random: Callable[[], float]) -> float:
    """Seconds until the next attempt after so many failures in a row.

    Doubles from 1 s to 5 min, of which a random half is left out, so that receivers that were away are not stormed; a
    `Retry-After` (RFC 9110 §10.2.3) is kept to within those 5 minutes.
    """
    whole = min(LAST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2.0 ** min(failures - 1, 20))
    wait = whole * (0.5 + random() / 2)
    return max(wait, min(asked, LAST_RETRY_SECONDS)) if asked is not None else wait


def verdict(subscription: Subscription, attempt: Attempt, patience: timedelta) -> State:
    """What becomes of the subscription after an attempt that failed."""
    if attempt.status == 410:
        return "gone"
    since = subscription.failing_since or attempt.at
    return "failing" if attempt.at - since >= patience else "active"


def disabled_notice(subscription: Subscription, at: datetime) -> NoticeRaised:
    """For the region's operators; the same series of failures gives the same notice."""
    series = int((subscription.failing_since or at).timestamp())
    return NoticeRaised(
        notice_id=f"{subscription.id}{series:012x}"[-32:],
        recipient=OPERATORS,
        kind="subscription-disabled",
        number=subscription.number,
        link=f"/portal/subscriptions/{subscription.id}",
        raised_at=at,
    )
