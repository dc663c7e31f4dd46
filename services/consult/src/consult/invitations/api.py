"""HTTP in: `POST /consults/invitations`."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel

from consult.api.answers import answer
from consult.api.asking import asking, token_of
from consult.invitations.model import Invite
from consult.invitations.usecases import Invitations
from imaging_common.auth import Claims, TokenVerifier
from imaging_common.http import Access, access


class Invited(BaseModel):
    """Who was invited, and to what."""

    user: str
    """Their account, as cases name people."""
    hospital: str
    case_id: str
    """The case they see: this one, or the one it was escalated to."""
    mailed: bool
    """False: it follows (a draft: when it is submitted), or they have a password and find the case in the portal."""


def build_invitations_api(invitations: Invitations, hospital: str, verifier: TokenVerifier) -> APIRouter:
    """Invitations; `hospital`: the one invited experts are of."""
    router = APIRouter(prefix="/consults/invitations")
    who = Annotated[Claims, Depends(asking(verifier))]

    @router.post("", status_code=201, openapi_extra=access(Access.CASE))
    async def invite(body: Invite, claims: who, request: Request) -> Invited:
        """Invite an expert; the same address for the same case again makes nothing twice."""
        made = await answer(invitations.invite(claims, body, token_of(request)))
        return Invited(user=made.user, hospital=hospital, case_id=made.case_id, mailed=made.mailed_at is not None)

    return router
