"""HTTP in: `/consults/experts` for operators, `/consults/experts/search` for who chooses whom to ask."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from consult.api.answers import answer
from consult.api.asking import asking
from consult.experts.model import Expert, FoundExpert
from consult.experts.usecases import Experts, Revised
from imaging_common.auth import Claims, TokenVerifier
from imaging_common.http import Access, Problem, access

MAX_EXPERTS = 2000


class ExpertList(BaseModel):
    """The list, or an operator's part of it."""

    revision: int = Field(ge=0)
    experts: list[Expert] = Field(max_length=MAX_EXPERTS)


def build_experts_api(experts: Experts, verifier: TokenVerifier) -> APIRouter:
    """Each hospital's operators see and change their own rows, the region's all."""
    router = APIRouter(prefix="/consults/experts")
    who = Annotated[Claims, Depends(asking(verifier))]

    @router.get("", openapi_extra=access(Access.HOSPITAL_OPERATOR))
    async def listed(claims: who) -> ExpertList:
        """Everybody with an account as an expert, and what is kept of them."""
        revision, rows = await answer(experts.listed(claims))
        return ExpertList(revision=revision, experts=rows)

    @router.put("", openapi_extra=access(Access.HOSPITAL_OPERATOR))
    async def keep(body: ExpertList, claims: who) -> ExpertList:
        """Replace them, when nobody else has since; 422 names the row that does not fit."""
        try:
            revision, rows = await answer(experts.keep(claims, body.revision, body.experts))
        except Revised as error:
            raise Problem(409, "somebody else changed the list of experts; read it again") from error
        return ExpertList(revision=revision, experts=rows)

    @router.get("/search", openapi_extra=access(Access.SIGNED_IN))
    async def search(
        claims: who,
        q: Annotated[str, Query(max_length=100)] = "",
        hospital: Annotated[str, Query(max_length=64)] = "",
        department: Annotated[str, Query(max_length=200)] = "",
    ) -> list[FoundExpert]:
        """By name (Chinese, pinyin or its initials), department, sub-specialty; those on duty first."""
        return await answer(experts.search(claims, q, hospital, department))

    return router
