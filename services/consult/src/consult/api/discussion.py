"""`/consults/{id}/comments`: the discussion."""

from typing import Annotated

from fastapi import APIRouter, Depends

from consult.api.answers import answer
from consult.api.asking import ConsultId, asking
from consult.model import Comment, CommentText
from consult.usecases.discussion import Discussion
from imaging_common.auth import Claims, TokenVerifier
from imaging_common.http import Access, access


def build_discussion_api(discussion: Discussion, verifier: TokenVerifier) -> APIRouter:
    """Read and write."""
    router = APIRouter(prefix="/consults")
    who = Annotated[Claims, Depends(asking(verifier))]

    @router.get("/{consult_id}/comments", openapi_extra=access(Access.CASE))
    async def read(consult_id: ConsultId, claims: who) -> list[Comment]:
        """The oldest first."""
        return await answer(discussion.read(claims, consult_id))

    @router.post("/{consult_id}/comments", status_code=201, openapi_extra=access(Access.CASE))
    async def write(consult_id: ConsultId, body: CommentText, claims: who) -> Comment:
        """Say something, to somebody, about an image."""
        return await answer(discussion.write(claims, consult_id, body))

    return router
