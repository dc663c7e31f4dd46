"""What one does to a case: every row of the workflow's table, and an invitation of somebody from outside."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from gateway.api.cases.frame import CaseFrame, known_id, version_of
from gateway.api.cases.signing import SIGNED, sign
from gateway.api.forms import field
from gateway.errors import ConsultRefused
from gateway.web.present_case import FORMS
from imaging_common.http import Access, access

TYPED = ("reason", "question", "opinion", "action_taken", "person", "target_kind", "target_hospital", "department")
INVITED = ("email", "name", "language", "question")


def build_actions(frame: CaseFrame) -> APIRouter:
    """POST below `/portal/consults/{consult_id}`; `/{action}` comes last."""
    router = APIRouter()
    consults = frame.portal.consults

    @router.post("/{consult_id}/invitation", openapi_extra=access(Access.CASE))
    async def invite(request: Request, consult_id: str) -> Response:
        """Ask somebody outside the region, by e-mail."""
        typed = {name: await field(request, name) for name in INVITED}
        body = {**typed, "consult_id": known_id(consult_id), "language": typed["language"] or "zh"}

        async def act() -> None:
            if not typed["email"] or not typed["name"]:
                raise ConsultRefused(422, "a name and an address are needed", {"missing": ["email", "name"]})
            await consults.send(frame.token(request), "invitations", body)

        return await frame.after(request, consult_id, act, typed, "invitation")

    @router.post("/{consult_id}/{action}", openapi_extra=access(Access.CASE))
    async def transition(request: Request, consult_id: str, action: str) -> Response:
        """One row of the table; `issue` and `approve` are signed."""
        if action not in FORMS:
            raise HTTPException(404)
        known_id(consult_id)
        version = await version_of(request)
        if action in SIGNED:
            return await sign(frame, request, consult_id, action, version)
        typed = {name: await field(request, name) for name in TYPED}

        async def act() -> None:
            await consults.act(frame.token(request), consult_id, action, order_of(action, typed, version))

        return await frame.after(request, consult_id, act, typed, action)

    return router


def order_of(action: str, typed: dict[str, str], version: int) -> dict[str, Any]:
    """The consult service's `Order`: what this action needs, and nothing else."""
    body: dict[str, Any] = {"version": version}
    for name in FORMS[action]:
        wanted = name.removesuffix("?")
        if wanted == "target":
            body["target"] = {
                "target_kind": typed["target_kind"] or "auto",
                "consultant_hospital": typed["target_hospital"] if typed["target_kind"] != "auto" else "",
                "department": typed["department"],
            }
        elif wanted in ("expert", "member", "panelist", "reviewer"):
            user, _, hospital = typed["person"].partition("|")
            body["expert" if wanted == "expert" else "member"] = user
            if hospital and wanted in ("expert", "member"):
                body["expert_hospital"] = hospital
        else:
            body[wanted] = typed[wanted]
    return {name: value for name, value in body.items() if value != ""}
