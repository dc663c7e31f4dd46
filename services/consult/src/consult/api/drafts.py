"""`/consults/{id}/report/draft`: the report while it is being written."""

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from consult.api.answers import answer
from consult.api.asking import ConsultId, asking
from consult.model import ReportText, WorkingDraft
from consult.usecases import Drafts
from imaging_common.auth import Claims, TokenVerifier
from imaging_common.http import Access, access


class DraftSave(BaseModel):
    """What was written on that revision; 0: nothing was kept yet."""

    revision: int = Field(ge=0)
    text: ReportText


def build_drafts_api(drafts: Drafts, verifier: TokenVerifier) -> APIRouter:
    """Its author's, and a second reader's."""
    router = APIRouter(prefix="/consults")
    who = Annotated[Claims, Depends(asking(verifier))]

    @router.get("/{consult_id}/report/draft", openapi_extra=access(Access.CASE))
    async def get(consult_id: ConsultId, claims: who) -> WorkingDraft:
        """The draft; revision 0: where this expert starts."""
        return await answer(drafts.get(claims, consult_id))

    @router.put("/{consult_id}/report/draft", openapi_extra=access(Access.CASE))
    async def save(consult_id: ConsultId, body: DraftSave, claims: who) -> WorkingDraft:
        """Keep it; the first save is the transition `draft`."""
        return await answer(drafts.save(claims, consult_id, body.revision, body.text))

    return router
