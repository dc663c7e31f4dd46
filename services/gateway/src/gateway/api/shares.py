"""Share links: `/portal/shares` for who makes them, `/share` for who got one; the secret is in its fragment alone."""

import re
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from gateway.api.forms import csrf_protected, field, fields
from gateway.api.pages import unseen
from gateway.api.portal import Portal, identity_of
from gateway.api.roles import for_image_roles
from gateway.api.windows import Attempts, framable, present, viewer_path
from gateway.errors import LaunchRefused
from gateway.grants.model import MAX_SHARE_DAYS
from gateway.usecases.case_studies import case_studies, read_refs
from gateway.usecases.share_studies import MAX_OPENS, ShareAsked, may_share
from gateway.web.present import study_view
from gateway.web.render import Renderer, language_of
from imaging_common.http import Access, access
from imaging_common.index.model import StudyDocument

MAX_FAILED = 30
"""Wrong links a minute of one address."""
DEFAULTS = {"days": "7", "max_opens": "", "note": "", "whole": ""}
REFUSED = {"share-ended": "shares.revoked", "share-expired": "shares.expired", "share-used-up": "shares.used-up"}


def build_shares(portal: Portal, renderer: Renderer) -> APIRouter:
    """Both sides."""
    router = APIRouter()
    router.include_router(_makers(portal, renderer))
    router.include_router(_visitors(portal, renderer))
    return router


def _makers(portal: Portal, renderer: Renderer) -> APIRouter:
    router = APIRouter(prefix="/portal/shares", dependencies=[Depends(for_image_roles), Depends(csrf_protected)])

    async def page(request: Request, found: list[StudyDocument], status: int = 200, **more: Any) -> Response:
        now = datetime.now(UTC)
        context: dict[str, Any] = {"form": DEFAULTS, "problem": "", "link": "", "made": None, **more}
        shares = await portal.shares.listed(identity_of(request).claims.user)
        return renderer.page(
            request,
            "shares.html",
            status=status,
            studies=[study_view(study) for study in found],
            whole_possible=bool(found) and bool(found[0].resident_id),
            shares=[{"share": share, "state": share.state(now)} for share in shares],
            max_days=MAX_SHARE_DAYS,
            most_opens=MAX_OPENS,
            hospitals={entry.hospital: entry for entry in await portal.registry.all()},
            unseen=await unseen(portal, request),
            **context,
        )

    async def shareable(request: Request, refs: list[str]) -> list[StudyDocument]:
        subject = await portal.subject_of(request)
        found = await case_studies(portal.index, subject, read_refs(refs))
        return [study for study in found if may_share(subject, study)]

    @router.get("", openapi_extra=access(Access.IMAGE_ROLES))
    async def shares(request: Request) -> Response:
        """The person's links, and with `ref` the form for a new one."""
        refs = request.query_params.getlist("ref")
        found = await shareable(request, refs)
        if refs and not found:
            raise HTTPException(404)
        return await page(request, found)

    @router.post("", openapi_extra=access(Access.IMAGE_ROLES))
    async def make(request: Request) -> Response:
        """A new link, shown this once."""
        form = {name: await field(request, name) for name in DEFAULTS}
        found = await shareable(request, await fields(request, "ref"))
        asked = ShareAsked(
            studies=found,
            whole=form["whole"] == "yes",
            days=_number(form["days"]),
            max_opens=_number(form["max_opens"]) if form["max_opens"] else None,
            note=form["note"][:200],
        )
        if problem := asked.problem():
            return await page(request, found, 422, form=form, problem=problem)
        grant, secret = await portal.shares.make(await portal.subject_of(request), asked)
        link = f"{portal.settings.public_url}/share#{secret}"
        return await page(request, [], 201, link=link, made=grant)

    @router.post("/{grant_id}/revoke", openapi_extra=access(Access.IMAGE_ROLES))
    async def revoke(request: Request, grant_id: str) -> Response:
        """Take a link back."""
        if not await portal.shares.revoke(await portal.subject_of(request), grant_id):
            raise HTTPException(404)
        portal.authenticator.forget_subjects()
        return RedirectResponse("/portal/shares", 303)

    return router


def _visitors(portal: Portal, renderer: Renderer) -> APIRouter:
    router = APIRouter()
    attempts = Attempts(MAX_FAILED)

    @router.get("/share", openapi_extra=access(Access.PUBLIC))
    async def share(request: Request) -> Response:
        """The page behind a link: its script takes the secret out of the address and sends it when asked to."""
        return renderer.page(request, "share.html")

    @router.post("/share", openapi_extra=access(Access.PUBLIC))
    async def enter(request: Request) -> Response:
        """Open a link: `{"next": <path of the viewer>}`, or `{"problem": <text's key>}` with 404, 410 or 429."""
        try:
            attempts.check(request)
        except HTTPException as error:
            return _answer({"problem": "shares.too-often"}, error.status_code)
        sessions = [one for one in await present(portal, request) if one.kind == "portal"]
        try:
            opened = await portal.shares.enter(await field(request, "secret"), next(iter(sessions), None))
        except LaunchRefused as refused:
            attempts.count(request)
            return _answer({"problem": REFUSED.get(refused.reason, "shares.unknown")}, refused.status)
        portal.authenticator.forget_subjects()
        path = viewer_path(opened.studies, language_of(request))
        response = _answer({"next": path} if path else {"problem": "shares.no-images"}, 200)
        if opened.cookie is not None:
            seconds = int((opened.grant.until - datetime.now(UTC)).total_seconds())
            secure = framable(portal)
            response.set_cookie(
                portal.window_cookie, opened.cookie, max_age=seconds, httponly=True, secure=secure, samesite="lax",
                path="/",
            )  # fmt: skip
        return response

    return router


def _answer(body: dict[str, str], status: int) -> Response:
    return JSONResponse(body, status, headers={"Cache-Control": "no-store"})


def _number(text: str) -> int:
    return int(text) if re.fullmatch(r"\d{1,4}", text) else 0
