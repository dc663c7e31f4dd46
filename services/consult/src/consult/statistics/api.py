"""HTTP in: `GET /consults/statistics`, as JSON or, when it is asked for, as CSV (RFC 4180)."""

import csv
import io
from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel

from consult.api.answers import answer
from consult.api.asking import asking
from consult.statistics.model import By, StatisticsRow
from consult.statistics.usecases import Statistics
from imaging_common.auth import Claims, TokenVerifier
from imaging_common.http import Access, access

CSV = "text/csv"
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet would take for one (CSV injection)."""


class StatisticsTable(BaseModel):
    """The answer."""

    rows: list[StatisticsRow]


def build_statistics_api(statistics: Statistics, verifier: TokenVerifier) -> APIRouter:
    """Counts and turnaround."""
    router = APIRouter(prefix="/consults")
    who = Annotated[Claims, Depends(asking(verifier))]
    csv_too: dict[int | str, dict[str, Any]] = {200: {"content": {CSV: {}}}}

    @router.get(
        "/statistics",
        openapi_extra=access(Access.HOSPITAL_OPERATOR),
        response_model=StatisticsTable,
        responses=csv_too,
    )
    async def statistics_of(
        request: Request,
        claims: who,
        since: Annotated[date | None, Query(alias="from")] = None,
        until: Annotated[date | None, Query(alias="to")] = None,
        by: By = By.HOSPITAL,
    ) -> StatisticsTable | Response:
        """Of the cases submitted from one day to another (both belong to it; the last 90 days)."""
        rows = await answer(statistics.rows(claims, since, until, by))
        if CSV in request.headers.get("accept", ""):
            return Response(as_csv(rows), media_type=f"{CSV}; charset=utf-8")
        return StatisticsTable(rows=rows)

    return router


def as_csv(rows: list[StatisticsRow]) -> str:
    """With a line of names, also when there is nothing else."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(StatisticsRow.model_fields)
    for row in rows:
        writer.writerow([f"'{cell}" if str(cell).startswith(FORMULA) else cell for cell in row.model_dump().values()])
    return text.getvalue()
