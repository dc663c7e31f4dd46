"""HTTP in: `/consults/routing` for the region's operators, `…/try` for everybody who writes an application, too."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field

from consult.api.answers import answer
from consult.api.asking import asking, token_of
from consult.experts.usecases import Revised
from consult.model import Application
from consult.model.application import Line
from consult.routing.facts import group_of, subspecialty_of
from consult.routing.model import Decision, Level, Row, Situation
from consult.routing.usecases import Routing
from imaging_common.auth import Claims, TokenVerifier
from imaging_common.http import Access, Problem, access

MAX_ROWS = 500


class RoutingTable(BaseModel):
    """The table; `revision` 0: the region's default, that nobody has written."""

    revision: int = Field(ge=0)
    rows: list[Row] = Field(max_length=MAX_ROWS)


class MadeUp(BaseModel):
    """A case to try the table with."""

    level: Level = ""
    subspecialty: Line = ""
    modality: Line = ""
    body_part: Line = ""
    urgency: str = Field(default="routine", max_length=16)


class Trial(BaseModel):
    """An application as it is written now, or a made-up case."""

    application: Application | None = None
    case: MadeUp | None = None


class ChosenTarget(BaseModel):
    """To whom the case would go; all empty: to nobody."""

    consultant_hospital: str = ""
    department: str = ""
    expert: str = ""
    expert_name: str = ""


class RowSays(BaseModel):
    """Whether a row fits, and the names of what stands against it."""

    row: str
    fits: bool
    reasons: list[str]


class Tried(BaseModel):
    """What the table says."""

    row: str
    """Name of the row that decides; empty: none does."""
    chosen: ChosenTarget
    why: list[RowSays]


def build_routing_api(routing: Routing, verifier: TokenVerifier) -> APIRouter:
    """The table and its trial."""
    router = APIRouter(prefix="/consults/routing")
    who = Annotated[Claims, Depends(asking(verifier))]

    @router.get("", openapi_extra=access(Access.REGION_OPERATOR))
    async def table(claims: who) -> RoutingTable:
        """The table as it decides now."""
        revision, rows = await answer(routing.table(claims))
        return RoutingTable(revision=revision, rows=rows)

    @router.put("", openapi_extra=access(Access.REGION_OPERATOR))
    async def keep(body: RoutingTable, claims: who) -> RoutingTable:
        """Replace it, when nobody else has since; 422 names the row that leads nowhere."""
        try:
            revision, rows = await answer(routing.keep(claims, body.revision, body.rows))
        except Revised as error:
            raise Problem(409, "somebody else changed the routing table; read it again") from error
        return RoutingTable(revision=revision, rows=rows)

    @router.post("/try", openapi_extra=access(Access.SIGNED_IN))
    async def attempt(body: Trial, claims: who, request: Request) -> Tried:
        """Whom it would choose, by which row, and why not by the others."""
        if body.application is not None:
            found = await answer(routing.try_application(claims, body.application, token_of(request)))
        else:
            found = await answer(routing.try_case(claims, _situation(body.case or MadeUp())))
        return _tried(found)

    return router


def _situation(case: MadeUp) -> Situation:
    parts = frozenset(filter(None, [group_of(case.body_part)]))
    modalities = frozenset(filter(None, [case.modality.upper()]))
    return Situation(
        level=case.level,
        subspecialty=case.subspecialty or subspecialty_of(modalities, parts),
        modalities=modalities,
        body_parts=parts,
        urgency=case.urgency or "routine",
    )


def _tried(decision: Decision) -> Tried:
    chosen = decision.chosen
    return Tried(
        row=decision.row,
        chosen=ChosenTarget(
            consultant_hospital=chosen.consultant_hospital,
            department=chosen.department,
            expert=chosen.expert,
            expert_name=chosen.expert_name,
        )
        if chosen
        else ChosenTarget(),
        why=[RowSays(row=one.row, fits=one.fits, reasons=list(one.reasons)) for one in decision.why],
    )
