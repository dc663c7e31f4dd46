"""`/consults`: apply, list, read, and every row of the table of transitions."""

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from pydantic import BaseModel, Field

from consult.api.answers import answer
from consult.api.asking import ConsultId, asking, token_of
from consult.model import Action, Application, Box, Consult, Order, Report, State, Study, missing
from consult.model.application import Urgency
from consult.ports import BoxQuery
from consult.usecases import CaseView, Consults
from imaging_common.auth import Claims, TokenVerifier
from imaging_common.http import Access, Problem, access

MAX_PAGE = 200
MAX_OFFSET = 100_000


class Save(BaseModel):
    """An application as it is being written."""

    revision: int = Field(ge=1)
    application: Application


class Saved(BaseModel):
    """What a save makes."""

    revision: int
    missing: list[str]
    """Names of the fields that it lacks before it can be submitted."""


class ReportSearch(BaseModel):
    """Whose reports are wanted: those on these studies, or of this case."""

    studies: list[Study] = Field(default=[], max_length=1000)
    consult_id: str | None = Field(default=None, max_length=64)


class IssuedReport(BaseModel):
    """A consult's report and what it is on: nothing of what the applicant wrote."""

    id: str
    number: str
    applicant_hospital: str
    consultant_hospital: str
    studies: list[Study]
    report: Report


def build_lists_api(consults: Consults, verifier: TokenVerifier) -> APIRouter:
    """Applying, the boxes, and the search for reports: paths without an id."""
    router = APIRouter(prefix="/consults")
    who = Annotated[Claims, Depends(asking(verifier))]

    @router.post("", status_code=201, openapi_extra=access(Access.APPLY))
    async def apply(
        application: Application,
        claims: who,
        request: Request,
        response: Response,
        draft: bool = False,
        idempotency_key: Annotated[str | None, Header(min_length=1, max_length=100)] = None,
    ) -> CaseView:
        """Apply, or keep a draft; a repetition with the same `Idempotency-Key` gets the case it made before."""
        made = await answer(consults.apply(claims, application, idempotency_key, token=token_of(request), draft=draft))
        response.headers["Location"] = f"/consults/{made.id}"
        return made

    @router.get("", openapi_extra=access(Access.CASE))
    async def box(
        request: Request,
        response: Response,
        claims: who,
        box: Box,
        state: State | None = None,
        overdue: bool | None = None,
        urgency: Urgency | None = None,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50,
        offset: Annotated[int, Query(ge=0, le=MAX_OFFSET)] = 0,
    ) -> list[Consult]:
        """A box of cases, the newest first, without reports; `Link: …; rel="next"` where there are more."""
        page, more = await consults.box(BoxQuery(claims, box, state, overdue, urgency, limit, offset))
        if more:
            query = request.url.include_query_params(offset=offset + limit, limit=limit).query
            response.headers["Link"] = f'</consults?{query}>; rel="next"'
        return page

    @router.post("/reports/search", openapi_extra=access(Access.EHR_OR_STUDY))
    async def reports(asked: ReportSearch, claims: who) -> list[IssuedReport]:
        """Cases with an issued report on these studies, for their parties and the residents' EHR."""
        found = await consults.reports(claims, asked.studies, asked.consult_id)
        return [IssuedReport.model_validate(case.model_dump(include=set(IssuedReport.model_fields))) for case in found]

    return router


def build_cases_api(consults: Consults, verifier: TokenVerifier) -> APIRouter:
    """One case; `/{action}` takes every path that no other router took, so this comes last."""
    router = APIRouter(prefix="/consults")
    who = Annotated[Claims, Depends(asking(verifier))]

    @router.get("/{consult_id}", openapi_extra=access(Access.CASE))
    async def get(consult_id: ConsultId, claims: who) -> CaseView:
        """One case, and what this person may do."""
        return await answer(consults.get(claims, consult_id))

    @router.put("/{consult_id}/application", openapi_extra=access(Access.CASE))
    async def save(consult_id: ConsultId, body: Save, claims: who, request: Request) -> Saved:
        """Keep the application as it is being written."""
        token = token_of(request)
        kept = await answer(consults.save_application(claims, consult_id, body.revision, body.application, token))
        return Saved(revision=kept.application_revision, missing=missing(kept.application()))

    @router.post("/{consult_id}/{action}", openapi_extra=access(Access.CASE))
    async def act(consult_id: ConsultId, action: Action, body: Order, claims: who) -> CaseView:
        """A row of the table."""
        if action is Action.DRAFT:
            raise Problem(422, "a report is begun by saving it: PUT …/report/draft")
        return await answer(consults.act(claims, consult_id, action, body))

    return router
