"""What operators see and order: rules without I/O."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from pydantic import BaseModel

from gateway.model import HospitalEntry
from imaging_common.auth import Claims
from imaging_common.events import StorageMeasured
from imaging_common.events.edge import EchoReason

OPERATOR_ROLES = frozenset({"hospital-operator", "region-operator"})


def operates_region(claims: Claims) -> bool:
    """Whether they run the whole region."""
    return "region-operator" in claims.roles


def operates(claims: Claims, hospital: str) -> bool:
    """Whether they run this hospital: its operator, or the region's."""
    if operates_region(claims):
        return True
    return "hospital-operator" in claims.roles and bool(claims.hospital) and claims.hospital == hospital


@dataclass(frozen=True, slots=True)
class BacklogSample:
    """What an edge agent said, about once a minute."""

    at: datetime
    backlog_instances: int
    backlog_bytes: int
    spool_bytes: int


class Echo(BaseModel):
    """A test of a hospital's PACS."""

    echo_id: str
    hospital: str
    requested_by: str
    requested_at: datetime
    deadline: datetime
    reason: EchoReason | None = None
    """None: no answer yet."""
    milliseconds: int = 0
    answered_at: datetime | None = None

    def state(self, now: datetime) -> str:
        """`waiting`, `silent` (the agent did not answer in time), `ok`, or why it failed."""
        if self.reason is not None:
            return self.reason or "ok"
        return "waiting" if now <= self.deadline else "silent"


@dataclass(frozen=True, slots=True)
class DayOfUse:
    """What lay where at the end of a day, or now."""

    day: str
    """`YYYY-MM-DD`, UTC."""
    tiers: dict[str, dict[str, int]] = field(default_factory=dict)
    """Tier (`archive`, `staging`, `cache`, `spool`) → hospital → bytes."""

    def total(self, tier: str) -> int:
        """Bytes of a tier."""
        return sum(self.tiers.get(tier, {}).values())


def tiers_of(event: StorageMeasured) -> dict[str, dict[str, int]]:
    """Tier → hospital → bytes."""
    tiers: dict[str, dict[str, int]] = {"archive": {}, "staging": {}, "cache": {}}
    for one in event.usage:
        tiers[one.tier][one.hospital] = one.bytes
    return tiers


class Policy(BaseModel):
    """What the region's operator decides about a hospital."""

    tier: Literal["distributed", "central"]
    compression: Literal["htj2k", "keep"]
    cache_weight: float
    retention_days: int
    legal_hold: bool


def with_policy(entry: HospitalEntry, policy: Policy) -> HospitalEntry:
    """The hospital's next revision; raises ValueError (pydantic) where a value is out of bounds."""
    return HospitalEntry.model_validate({**entry.model_dump(), **policy.model_dump(), "revision": entry.revision + 1})
