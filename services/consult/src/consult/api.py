"""HTTP in: the gateway calls it with the user's own token."""

from collections.abc import Awaitable
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from pydantic import BaseModel, Field

from consult.errors import Conflict, InvalidConsult, NotAllowed, NotFound
from consult.model import Action, Application, Consult, Report, ReportText, State, Study
from consult.usecases import Consults
from imaging_common.auth import Claims, TokenVerifier
from imaging_common.http import Access, Problem, access, bearer_claims

MAX_PAGE = 200
MAX_OFFSET = 100_000
ConsultId = Annotated[str, Path(max_length=64)]


class Act(BaseModel):
    """A transition: of the version the person saw."""

    version: int = Field(ge=1)
    reason: str = Field(default="", max_length=2000)


class Draft(ReportText):
    """A report as it is being written."""

    version: int = Field(ge=1)


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


def build_api(consults: Consults, verifier: TokenVerifier) -> APIRouter:
    """`/consults`."""
    router = APIRouter(prefix="/consults")

    async def person(request: Request) -> Claims:
        return await bearer_claims(request, verifier)

    who = Annotated[Claims, Depends(person)]

    @router.post("", status_code=201, openapi_extra=access(Access.APPLY))
    async def submit(
        application: Application,
        claims: who,
        response: Response,
        idempotency_key: Annotated[str | None, Header(min_length=1, max_length=100)] = None,
    ) -> Consult:
        """Apply for a consult; a repetition with the same `Idempotency-Key` gets the case it made before."""
        submitted = await answer(consults.submit(claims, application, idempotency_key))
        response.headers["Location"] = f"/consults/{submitted.id}"
        return submitted

    @router.get("", openapi_extra=access(Access.CASE))
    async def box(
        request: Request,
        response: Response,
        claims: who,
        box: Literal["sent", "received"],
        state: State | None = None,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50,
        offset: Annotated[int, Query(ge=0, le=MAX_OFFSET)] = 0,
    ) -> list[Consult]:
        """The hospital's cases, the newest first, without reports; `Link: …; rel="next"` where there are more."""
        page, more = await consults.box(claims, box=box, state=state, limit=limit, offset=offset)
        if more:
            query = request.url.include_query_params(offset=offset + limit, limit=limit).query
            response.headers["Link"] = f'</consults?{query}>; rel="next"'
        return page

    @router.post("/reports/search", openapi_extra=access(Access.EHR_OR_STUDY))
    async def reports(asked: ReportSearch, claims: who) -> list[IssuedReport]:
        """Cases with an issued report on these studies, for their parties and the residents' EHR."""
        found = await consults.reports(claims, asked.studies, asked.consult_id)
        return [IssuedReport.model_validate(case.model_dump(include=set(IssuedReport.model_fields))) for case in found]

    @router.get("/{consult_id}", openapi_extra=access(Access.CASE))
    async def get(consult_id: ConsultId, claims: who) -> Consult:
        """One case."""
        return await answer(consults.get(claims, consult_id))

    @router.put("/{consult_id}/report", openapi_extra=access(Access.CASE))
    async def draft(consult_id: ConsultId, body: Draft, claims: who) -> Consult:
        """Keep the report as it is being written."""
        text = ReportText.model_validate(body.model_dump(exclude={"version"}))
        return await answer(consults.draft(claims, consult_id, body.version, text))

    @router.post("/{consult_id}/report/issue", openapi_extra=access(Access.CASE))
    async def issue(consult_id: ConsultId, body: Act, claims: who) -> Consult:
        """Make the report final."""
        return await answer(consults.issue(claims, consult_id, body.version))

    @router.post("/{consult_id}/{action}", openapi_extra=access(Access.CASE))
    async def act(
        consult_id: ConsultId, action: Literal["accept", "reject", "withdraw", "acknowledge"], body: Act, claims: who
    ) -> Consult:
        """A transition."""
        return await answer(consults.act(claims, consult_id, Action(action), body.version, body.reason))

    return router


async def answer(work: Awaitable[Consult]) -> Consult:
    """The case, or the problem that fits what went wrong."""
    try:
        return await work
    except NotFound as error:
        raise Problem(404, str(error)) from error
    except NotAllowed as error:
        raise Problem(403, str(error)) from error
    except InvalidConsult as error:
        raise Problem(422, str(error)) from error
    except Conflict as error:
        raise Problem(409, str(error), version=error.version, state=error.state, changed_by=error.by) from error
