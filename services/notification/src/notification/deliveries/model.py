"""Deliveries, preferences, and when which channel has its turn. Pure."""

import hashlib
from collections.abc import Callable
from datetime import datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, model_validator

from imaging_common.events import NoticeRaised

Channel = Literal["e-mail", "sms"]
CHANNELS: tuple[Channel, ...] = ("e-mail", "sms")
"""In the order in which they have their turn; the portal comes before."""
State = Literal["waiting", "sent", "undeliverable", "not-needed"]
Group = Literal["work", "progress", "reports", "discussion", "limits", "operations"]
GROUPS: tuple[Group, ...] = ("work", "progress", "reports", "discussion", "limits", "operations")
GROUP_OF: dict[str, Group] = {
    "consult-submitted": "work",
    "consult-returned": "work",
    "consult-assigned": "work",
    "consult-released": "work",
    "review-requested": "work",
    "review-declined": "work",
    "opinion-requested": "work",
    "report-issued": "reports",
    "report-amended": "reports",
    "amendment-started": "reports",
    "report-undelivered": "reports",
    "comment-mentioned": "discussion",
    "consult-commented": "discussion",
    "break-glass": "operations",
    "subscription-disabled": "operations",
}
"""What is not named here is progress, and `limit-…` is limits."""
CRITICAL = ("critical-value", "limit-critical")
"""Beginnings of the kinds that no preference turns off, that come on all channels, and at once."""
FIRST_RETRY_SECONDS = 2.0
LAST_RETRY_SECONDS = 300.0


class QuietHours(BaseModel):
    """From when to when nothing but emergencies comes, by the region's clock; over midnight, too."""

    model_config = ConfigDict(frozen=True)

    start: time
    end: time

    @model_validator(mode="after")
    def _no_whole_day(self) -> "QuietHours":
        if self.start == self.end:
            raise ValueError("quiet hours that begin and end at the same time: leave them out")
        return self


def _standard() -> dict[Group, list[Channel]]:
    quick: tuple[Group, ...] = ("work", "limits")
    return {group: ["e-mail", "sms"] if group in quick else ["e-mail"] for group in GROUPS}


class Preferences(BaseModel):
    """How somebody wants to be told outside the portal."""

    model_config = ConfigDict(extra="forbid")

    channels: dict[Group, list[Channel]] = {}
    """A group that is not named has the standard; an empty list turns it off."""
    language: Literal["zh", "en"] | None = None
    """None: as the account says."""
    quiet: QuietHours | None = None

    def allowed(self, kind: str) -> list[Channel]:
        """The channels for a kind of notice, in their order."""
        if kind.startswith(CRITICAL):
            return list(CHANNELS)
        group = group_of(kind)
        chosen = self.channels.get(group, _standard()[group])
        return [channel for channel in CHANNELS if channel in chosen]

    def complete(self) -> "Preferences":
        """With every group named."""
        return self.model_copy(
            update={"channels": {group: self.channels.get(group, _standard()[group]) for group in GROUPS}}
        )


class Chain(BaseModel):
    """Seconds after the notice until the next channel has its turn, when it was not seen; None: it never has."""

    email: dict[str, float] = {"routine": 900, "urgent": 180, "emergency": 30}
    sms: dict[str, float | None] = {"routine": None, "urgent": 1800, "emergency": 180}

    def wait(self, notice: NoticeRaised, channel: Channel) -> float | None:
        """For this notice."""
        if notice.kind.startswith(CRITICAL):
            return 0.0
        return (self.email if channel == "e-mail" else self.sms).get(notice.urgency)


class Delivery(BaseModel):
    """One event told to one person on one channel."""

    id: str
    notice_ids: list[str]
    user: str
    hospital: str = ""
    channel: Channel
    kind: str
    number: str
    link: str
    urgency: Literal["routine", "urgent", "emergency"]
    raised_at: datetime
    at: datetime
    """When it happened."""
    state: State = "waiting"
    next_attempt_at: datetime
    attempts: int = 0
    reason: str = ""
    """Why it is not sent (yet): a word."""
    to: str = ""
    """Where it went, masked."""
    ended_at: datetime | None = None


class Plan(BaseModel):
    """A notice of which it is not yet worked out whom it reaches."""

    notice: NoticeRaised
    cause: str
    """The event; whom two of its notices reach is written to once."""
    by: str = ""
    """Who did it: not written to."""
    at: datetime
    """When it happened."""
    attempts: int = 1


class Outcome(BaseModel):
    """What a sender says of an attempt."""

    result: Literal["sent", "again", "refused"]
    reason: str = ""


def group_of(kind: str) -> Group:
    """The group of preferences that a kind of notice belongs to."""
    return "limits" if kind.startswith("limit-") else GROUP_OF.get(kind, "progress")


def delivery_id(cause: str, user: str, channel: Channel) -> str:
    """The same for the same event, person and channel: also the stable part of the `Message-ID`."""
    return hashlib.sha256(f"{cause} {user} {channel}".encode()).hexdigest()[:32]


def planned(plan: Plan, user: str, hospital: str, preferences: Preferences, chain: Chain) -> list[Delivery]:
    """What is to be sent to one person, unless they see the notice before."""
    notice, found = plan.notice, []
    for channel in preferences.allowed(notice.kind):
        wait = chain.wait(notice, channel)
        if wait is not None:
            delivery = Delivery(
                id=delivery_id(plan.cause, user, channel),
                notice_ids=[notice.notice_id],
                user=user,
                hospital=hospital,
                channel=channel,
                kind=notice.kind,
                number=notice.number,
                link=notice.link,
                urgency=notice.urgency,
                raised_at=notice.raised_at,
                at=plan.at,
                next_attempt_at=notice.raised_at + timedelta(seconds=wait),
            )
            found.append(delivery)
    return found


def quiet_until(delivery: Delivery, quiet: QuietHours | None, now: datetime, zone: ZoneInfo) -> datetime | None:
    """The end of the person's quiet hours, when it is within them and they hold for this; None: it may go out."""
    if quiet is None or delivery.urgency == "emergency":
        return None
    local = now.astimezone(zone)
    clock = local.time().replace(tzinfo=None)
    overnight = quiet.start > quiet.end
    within = clock >= quiet.start or clock < quiet.end if overnight else quiet.start <= clock < quiet.end
    if not within:
        return None
    day = local.date() + timedelta(days=1 if overnight and clock >= quiet.start else 0)
    return datetime.combine(day, quiet.end, zone)


def retry_delay(attempts: int, random: Callable[[], float]) -> float:
    """Seconds until the next attempt: doubles from 2 s to 5 min, of which a random half is left out."""
    whole = min(LAST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2.0 ** min(attempts - 1, 20))
    return whole * (0.5 + random() / 2)


def masked(address: str) -> str:
    """An address of which one sees whether it is the right one, and no more."""
    name, at, domain = address.partition("@")
    return f"{name[:1]}***@{domain}" if at else f"***{address[-3:]}"


def people_in(recipient: str) -> tuple[str, str, str]:
    """A recipient as (user, hospital, role): either the user or the role is empty, the region's hospital too."""
    kind, _, rest = recipient.partition(":")
    if kind == "user":
        return rest, "", ""
    hospital, _, role = rest.rpartition(":")
    return "", hospital if kind == "hospital" else "", role
