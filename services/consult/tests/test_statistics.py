"""Statistics: figures of a group, whose cases an operator sees, and which days belong to a time."""

from datetime import UTC, date, datetime
from typing import Any

import pytest

from consult.errors import InvalidConsult, NotAllowed
from consult.statistics import Statistics, build_statistics_api
from consult.statistics.api import as_csv
from consult.statistics.model import Asked, By, Group, row_of
from imaging_common.audit import AuditTrail
from imaging_common.auth import Claims
from imaging_common.messaging import FakePublisher

from .people import COORDINATOR, DOCTOR, EXPERT
from .serving import Tokens, bearer, served

REGION = Claims("operator.region", "", frozenset({"region-operator"}))
OWN = Claims("operator.secondary", "secondary", frozenset({"hospital-operator"}))
NIGHT = datetime(2026, 11, 24, 17, 0, tzinfo=UTC)
"""One o'clock of the 25th in Shanghai."""


class FakeFigures:
    """Remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []

    async def groups(self, asked: Asked) -> list[Group]:
        """See `Figures.groups`."""
        self.asked.append(asked)
        return [Group("secondary", "", 3, 1, [1.0, 4.0])]


def make() -> tuple[Statistics, FakeFigures]:
    figures = FakeFigures()
    audit = AuditTrail("consult", FakePublisher())
    return Statistics(figures, audit, lambda: NIGHT, "Asia/Shanghai"), figures


@pytest.mark.parametrize(
    ("hours", "median", "p90"),
    [
        ([], None, None),
        ([2.0], 2.0, 2.0),
        ([4.0, 1.0], 2.5, 4.0),
        ([3.0, 1.0, 2.0], 2.0, 3.0),
        ([float(n) for n in range(10, 0, -1)], 5.5, 9.0),
        ([float(n) for n in range(1, 12)], 6.0, 10.0),
    ],
)
def test_median_and_p90_are_of_those_that_were_issued(hours: list[float], median: Any, p90: Any) -> None:
    row = row_of(Group("x", "", 20, 2, hours))
    assert (row.count, row.issued, row.overdue, row.median_hours, row.p90_hours) == (20, len(hours), 2, median, p90)


async def test_days_are_the_regions_and_both_belong_to_it() -> None:
    statistics, figures = make()
    rows = await statistics.rows(REGION, date(2026, 11, 1), date(2026, 11, 2), By.MONTH)
    assert [(row.key, row.count, row.median_hours) for row in rows] == [("secondary", 3, 2.5)]
    await statistics.rows(OWN, None, None, By.HOSPITAL)
    first, second = figures.asked
    assert (first.since, first.before) == (
        datetime(2026, 10, 31, 16, tzinfo=UTC),
        datetime(2026, 11, 2, 16, tzinfo=UTC),
    )
    assert (first.hospital, second.hospital) == (None, "secondary")
    assert second.before == datetime(2026, 11, 25, 16, tzinfo=UTC)


@pytest.mark.parametrize("claims", [DOCTOR, EXPERT, COORDINATOR, Claims("x", "", frozenset({"hospital-operator"}))])
async def test_statistics_are_the_operators(claims: Claims) -> None:
    statistics, figures = make()
    with pytest.raises(NotAllowed):
        await statistics.rows(claims, None, None, By.EXPERT)
    assert figures.asked == []


async def test_time_that_ends_before_it_begins_is_refused() -> None:
    statistics, _ = make()
    with pytest.raises(InvalidConsult):
        await statistics.rows(REGION, date(2026, 11, 2), date(2026, 11, 1), By.HOSPITAL)


def test_spreadsheet_takes_no_name_for_a_formula() -> None:
    rows = [row_of(Group("e1", "=1+1", 1, 0, [])), row_of(Group("e2", "周敏", 2, 0, [1.5]))]
    assert as_csv(rows).splitlines() == [
        "key,name,count,issued,overdue,median_hours,p90_hours",
        "e1,'=1+1,1,0,0,,",
        "e2,周敏,2,1,0,1.5,1.5",
    ]


async def test_statistics_go_over_http_as_json_and_as_csv() -> None:
    statistics, figures = make()
    async with served(build_statistics_api(statistics, Tokens(region=REGION, doctor=DOCTOR))) as http:
        params = {"from": "2026-11-01", "to": "2026-11-02", "by": "month"}
        found = await http.get("/consults/statistics", params=params, headers=bearer("region"))
        assert found.json()["rows"] == [
            {"key": "secondary", "name": "", "count": 3, "issued": 2, "overdue": 1, "median_hours": 2.5,
             "p90_hours": 4.0}
        ]  # fmt: skip
        assert figures.asked[0].by is By.MONTH
        sheet = await http.get("/consults/statistics", headers=bearer("region") | {"Accept": "text/csv"})
        assert (sheet.headers["content-type"], len(sheet.text.splitlines())) == ("text/csv; charset=utf-8", 2)
        for wrong in ({"by": "patient"}, {"from": "yesterday"}, {"from": "2026-02-01", "to": "2026-01-01"}):
            assert (await http.get("/consults/statistics", params=wrong, headers=bearer("region"))).status_code == 422
        assert (await http.get("/consults/statistics", headers=bearer("doctor"))).status_code == 403
