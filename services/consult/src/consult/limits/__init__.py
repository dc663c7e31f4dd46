"""Time limits of a case (accept, first opinion, report, critical value): reminded of, overdue, escalated."""

from consult.limits.joiner import LimitsJoiner
from consult.limits.scheduler import Scheduler
from consult.limits.timers import FakeTimers, MongoTimers, Timers

__all__ = ["FakeTimers", "LimitsJoiner", "MongoTimers", "Scheduler", "Timers"]
