"""`/portal/removal`: operators delete, restore and hold studies of the central tier. Facts only, no images."""

from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from gateway.api.forms import csrf_protected, field
from gateway.api.pages import unseen
from gateway.api.portal import Portal, identity_of
from gateway.api.roles import for_operators
from gateway.usecases.command_study import ACTS, REASONS, command_study, find_studies, may_operate_on
from gateway.web.present import study_view
from gateway.web.render import Renderer
from imaging_common.audit import who
from imaging_common.http import Access, access

SHOWN = 100
ACTIONS = ("delete", "restore", "hold", "release")


def build_removal(portal: Portal, renderer: Renderer) -> APIRouter:
    """The page, its search (by POST: no patient id in an address), and the commands."""
    router = APIRouter(prefix="/portal/removal", dependencies=[Depends(for_operators), Depends(csrf_protected)])

    async def page(request: Request, words: str = "", message: str = "") -> Response:
        claims = identity_of(request).claims
        found = [
            {"study": study_view(study), "commands": await portal.commands.of(study.holder, study.study_uid)}
            for study in await find_studies(portal.index, claims, words)
        ]
        holder = None if "region-operator" in claims.roles else claims.hospital
        deleted = await portal.commands.deleted(holder, SHOWN)
        await portal.audit.record(
            action="search", outcome="success", reason="removal", count=len(found) + len(deleted), **who(claims)
        )
        context: dict[str, Any] = {
            "words": words,
            "message": message,
            "found": found,
            "deleted": deleted,
            "reasons": list(REASONS),
            "hospitals": {entry.hospital: entry for entry in await portal.registry.all()},
        }
        return renderer.page(
            request,
            "removal.html",
            status=409 if message == "removal.stale" else 200,
            unseen=await unseen(portal, request),
            **context,
        )

    @router.get("", openapi_extra=access(Access.HOSPITAL_OPERATOR))
    async def removal(request: Request) -> Response:
        """Deleted studies that can still be restored, and an empty search."""
        return await page(request)

    @router.post("/search", openapi_extra=access(Access.HOSPITAL_OPERATOR))
    async def search(request: Request) -> Response:
        """Studies by UID, accession number or patient id."""
        return await page(request, (await field(request, "words"))[:64])

    @router.post("/{action}", openapi_extra=access(Access.HOSPITAL_OPERATOR))
    async def command(request: Request, action: str) -> Response:
        """Delete, restore, hold or release one study, if it is still as the page showed it."""
        if action not in ACTIONS:
            raise HTTPException(404)
        claims = identity_of(request).claims
        holder, study_uid = await field(request, "holder"), await field(request, "study_uid")
        if not may_operate_on(claims, holder):
            await portal.audit.record(
                action=ACTS[action], outcome="denied", reason="not-an-operator", holder=holder[:64], **who(claims)
            )
            raise HTTPException(404)
        entries = {entry.hospital: entry for entry in await portal.registry.all()}
        revision = await field(request, "revision")
        after = await command_study(
            portal.index,
            portal.commands,
            portal.audit,
            claims,
            holder=holder,
            study_uid=study_uid,
            action=action,
            reason=await field(request, "reason"),
            revision=int(revision) if revision.isdecimal() and len(revision) < 10 else -1,
            retention_days=getattr(entries.get(holder), "retention_days", 30),
        )
        message = f"removal.done-{action}" if after is not None else "removal.stale"
        return await page(request, (await field(request, "words"))[:64], message)

    return router
