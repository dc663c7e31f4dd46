"""What statistics say of a group of cases. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel


class By(StrEnum):
    """What the cases are grouped by."""

    HOSPITAL = "hospital"
    """That was asked."""
    EXPERT = "expert"
    """Who has the case; cases that nobody has taken are left out."""
    MONTH = "month"
    """Of the submission, in the region's time."""


@dataclass(frozen=True, slots=True)
class Group:
    """Cases of one key."""

    key: str
    name: str
    count: int
    overdue: int
    """Cases that missed a limit of the hospital that was asked, also when it was met later."""
    hours: Sequence[float]
    """From the submission to the first issue, of each case that got so far; waiting for the applicant counts."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Which cases: submitted in this time, asked of this hospital (None: of any)."""

    since: datetime
    before: datetime
    by: By
    hospital: str | None


class StatisticsRow(BaseModel):
    """One line of the answer."""

    key: str
    name: str = ""
    """The expert's; hospitals' names are the portal's to know."""
    count: int
    issued: int
    overdue: int
    median_hours: float | None
    p90_hours: float | None
    """Nine in ten were answered within this (nearest rank)."""


def row_of(group: Group) -> StatisticsRow:
    """The figures of a group."""
    hours = sorted(group.hours)
    return StatisticsRow(
        key=group.key,
        name=group.name,
        count=group.count,
        issued=len(hours),
        overdue=group.overdue,
        median_hours=_median(hours),
        p90_hours=round(hours[math.ceil(len(hours) * 0.9) - 1], 2) if hours else None,
    )


def _median(hours: Sequence[float]) -> float | None:
    if not hours:
        return None
    middle = len(hours) // 2
    return round(hours[middle] if len(hours) % 2 else (hours[middle - 1] + hours[middle]) / 2, 2)
