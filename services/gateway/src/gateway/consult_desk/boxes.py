"""The boxes: which there are for whom, and how much time a case has left. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

BOXES = ("received", "mine", "review", "panel", "sent", "drafts")
STATES = (
    "submitted", "returned", "accepted", "assigned", "reading", "drafted", "in-review", "approved", "issued",
    "acknowledged", "rejected", "withdrawn",
)  # fmt: skip
PAUSED = ("draft", "returned")


def boxes_of(roles: frozenset[str]) -> list[str]:
    """The boxes of these roles, the first one first."""
    theirs = {
        "received": {"expert", "coordinator"},
        "mine": {"expert"},
        "review": {"expert"},
        "panel": {"expert"},
        "sent": {"doctor", "coordinator"},
        "drafts": {"doctor"},
    }
    return [box for box in BOXES if roles & theirs[box]]


@dataclass(frozen=True, slots=True)
class TimeLeft:
    """The limit that counts next: which, when, and how it stands."""

    name: str
    due_at: datetime
    minutes: int
    """Left; negative: past."""
    used: int
    """Percent of the time between the submission and the limit, 0 to 100."""
    paused: bool

    @property
    def overdue(self) -> bool:
        """Whether it has passed."""
        return self.minutes < 0 and not self.paused


def time_left(case: Mapping[str, Any], now: datetime | None = None) -> TimeLeft | None:
    """Of the open limit that is due first; None: none runs."""
    now = now or datetime.now(UTC)
    running = [limit for limit in case.get("limits") or () if not limit.get("met_at")]
    if not running or case.get("state") in ("acknowledged", "rejected", "withdrawn"):
        return None
    first = min(running, key=lambda limit: str(limit["due_at"]))
    due = datetime.fromisoformat(first["due_at"])
    begun = datetime.fromisoformat(case.get("submitted_at") or case["created_at"])
    whole = max((due - begun).total_seconds(), 1.0)
    used = min(max(round((now - begun).total_seconds() / whole * 100), 0), 100)
    minutes = int((due - now).total_seconds() // 60)
    return TimeLeft(first["name"], due, minutes, used, case.get("state") in PAUSED)
