"""Tell operators how their hospitals answer."""

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from consult.errors import InvalidConsult, NotAllowed
from consult.experts.usecases import HOSPITAL_ROLE, REGION_ROLE
from consult.ports import Clock
from consult.statistics.figures import Figures
from consult.statistics.model import Asked, By, StatisticsRow, row_of
from imaging_common.audit import AuditTrail, who
from imaging_common.auth import Claims

DAYS_SHOWN = 90
MAX_DAYS = 366 * 10


class Statistics:
    """Over the cases that were submitted in a time; a hospital's operators get those that were asked of it."""

    def __init__(self, figures: Figures, audit: AuditTrail, clock: Clock, time_zone: str) -> None:
        self._figures = figures
        self._audit = audit
        self._clock = clock
        self._zone = ZoneInfo(time_zone)

    async def rows(self, claims: Claims, since: date | None, until: date | None, by: By) -> list[StatisticsRow]:
        """Both days belong to it, in the region's time; without them, the last days until today."""
        hospital = await self._hospital(claims)
        until = until or self._clock().astimezone(self._zone).date()
        since = since or until - timedelta(days=DAYS_SHOWN)
        if not 0 <= (until - since).days <= MAX_DAYS:
            raise InvalidConsult("the first day comes before the last, and they are at most ten years apart")
        asked = Asked(self._begin(since), self._begin(until + timedelta(days=1)), by, hospital)
        rows = [row_of(group) for group in await self._figures.groups(asked)]
        await self._audit.record(
            action="search", outcome="success", reason=f"consult-statistics-{by}", count=len(rows), **who(claims)
        )
        return rows

    async def _hospital(self, claims: Claims) -> str | None:
        if REGION_ROLE in claims.roles:
            return None
        if HOSPITAL_ROLE in claims.roles and claims.hospital:
            return claims.hospital
        await self._audit.record(action="search", outcome="denied", reason="not-an-operator", **who(claims))
        raise NotAllowed("only operators see the statistics")

    def _begin(self, day: date) -> datetime:
        return datetime.combine(day, time(), self._zone)
