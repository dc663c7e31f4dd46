"""`/portal/break-glass`: one resident's record, in an emergency, with a reason, for an hour at most."""

import re
from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response
from starlette.exceptions import HTTPException

from gateway.api.forms import csrf_protected, field
from gateway.api.pages import unseen
from gateway.api.portal import Portal, identity_of, session_of
from gateway.api.roles import for_image_roles
from gateway.grants.model import MAX_MINUTES, MIN_REASON, RESIDENT_PATTERN
from gateway.usecases.search_studies import StudySearch
from gateway.web.render import Renderer
from imaging_common.http import Access, access

FIELDS = ("resident", "reason", "minutes", "sure")
_RESIDENT = re.compile(RESIDENT_PATTERN)


def build_break_glass(portal: Portal, renderer: Renderer) -> APIRouter:
    """The form, one's own open ones, and the banner."""
    router = APIRouter(prefix="/portal/break-glass", dependencies=[Depends(for_image_roles), Depends(csrf_protected)])

    async def page(request: Request, form: dict[str, str], problem: str = "", status: int = 422) -> Response:
        return renderer.page(
            request,
            "break_glass.html",
            status=status if problem else 200,
            form=form,
            problem=problem,
            open=await portal.glass.open_now(identity_of(request).claims.user),
            max_minutes=MAX_MINUTES,
            min_reason=MIN_REASON,
            hospitals={entry.hospital: entry for entry in await portal.registry.all()},
            unseen=await unseen(portal, request),
        )

    async def of_the_region(hospital: str) -> bool:
        """Outside experts see their cases and nothing else."""
        return any(e.hospital == hospital and e.level != "outside" for e in await portal.registry.all())

    @router.get("", openapi_extra=access(Access.IMAGE_ROLES))
    async def form_page(request: Request) -> Response:
        """The form; what was searched for last and may be a resident's id stands in it."""
        words = session_of(request).search.get("words", "")
        resident = words if _RESIDENT.fullmatch(words) else ""
        return await page(request, {"resident": resident, "reason": "", "minutes": "30", "sure": ""})

    @router.post("", openapi_extra=access(Access.IMAGE_ROLES))
    async def break_glass(request: Request) -> Response:
        """Break the glass and go on to the resident's studies."""
        form = {name: await field(request, name) for name in FIELDS}
        if problem := problem_of(form):
            return await page(request, form, problem)
        subject = await portal.subject_of(request)
        if not await of_the_region(subject.hospital):
            await portal.glass.refused(subject, form["resident"], "outside-the-region")
            return await page(request, form, "glass.bad.outside", 403)
        reason = form["reason"][:500]
        grant = await portal.glass.break_glass(subject, form["resident"], reason, int(form["minutes"]))
        if grant is None:
            return await page(request, form, "glass.bad.unknown")
        portal.authenticator.forget_subjects()
        session = session_of(request)
        session.search = StudySearch.read({"words": form["resident"]}).form()
        await portal.sessions.remember_search(session.key, session.search)
        return RedirectResponse("/portal/studies", 303)

    @router.post("/{grant_id}/end", openapi_extra=access(Access.IMAGE_ROLES))
    async def end(request: Request, grant_id: str) -> Response:
        """Close it before its time."""
        if not await portal.glass.end(await portal.subject_of(request), grant_id):
            raise HTTPException(404)
        portal.authenticator.forget_subjects()
        return RedirectResponse("/portal/break-glass", 303)

    @router.get("/banner", openapi_extra=access(Access.IMAGE_ROLES))
    async def banner(request: Request) -> Response:
        """What every page shows while a glass is broken; empty otherwise."""
        context: dict[str, Any] = {"open": await portal.glass.open_now(identity_of(request).claims.user)}
        return renderer.page(request, "_break_glass.html", **context)

    return router


def problem_of(form: dict[str, str]) -> str:
    """The key of what is wrong with the form; empty: nothing."""
    if not _RESIDENT.fullmatch(form["resident"]):
        return "glass.bad.resident"
    if len(form["reason"]) < MIN_REASON:
        return "glass.bad.reason"
    if not re.fullmatch(r"\d{1,2}", form["minutes"]) or not 1 <= int(form["minutes"]) <= MAX_MINUTES:
        return "glass.bad.minutes"
    return "" if form["sure"] == "yes" else "glass.bad.sure"
