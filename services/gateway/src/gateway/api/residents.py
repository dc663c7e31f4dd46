"""`/portal/residents`: operators say which patient is which resident. Facts only, no images; nothing in addresses."""

from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from gateway.api.forms import csrf_protected, field
from gateway.api.pages import unseen
from gateway.api.portal import Portal, identity_of
from gateway.api.roles import for_operators
from gateway.web.present import patient_view
from gateway.web.render import Renderer, wants_fragment
from imaging_common.audit import who
from imaging_common.http import Access, access

PAGE_SIZE = 10
MAX_PAGE = 100
SHOWN = 50


def build_residents(portal: Portal, renderer: Renderer) -> APIRouter:
    """The review list, its live part, the search (by POST), and linking and unlinking by one click."""
    router = APIRouter(prefix="/portal/residents", dependencies=[Depends(for_operators), Depends(csrf_protected)])
    review = portal.residents

    async def context(request: Request, page: int, words: str, message: str) -> dict[str, Any]:
        claims = identity_of(request).claims
        entries = {entry.hospital: entry for entry in await portal.registry.all()}
        region = list(entries)
        mine = region if "region-operator" in claims.roles else [name for name in region if name == claims.hospital]
        patients, more = await review.patients.unlinked(mine, limit=PAGE_SIZE, offset=(page - 1) * PAGE_SIZE)
        rows = [(patient_view(one), [patient_view(m) for m in await review.matches(one, region)]) for one in patients]
        found = await review.patients.named(mine, words, SHOWN) if words else []
        linked = await review.patients.linked_by_operators(mine, SHOWN)
        shown = len(patients) + len(found) + len(linked)
        await portal.audit.record(
            action="search",
            outcome="success",
            reason="residents",
            **who(claims),
            count=shown,
        )
        return {
            "rows": rows,
            "found": [patient_view(one) for one in found],
            "linked": [patient_view(one) for one in linked],
            "page": page,
            "more": more,
            "words": words,
            "message": message,
            "hospitals": entries,
        }

    async def answer(request: Request, page: int = 1, words: str = "", message: str = "") -> Response:
        shown = await context(request, page, words, message)
        if wants_fragment(request):
            return renderer.page(request, "_residents.html", **shown)
        return renderer.page(request, "residents.html", unseen=await unseen(portal, request), **shown)

    @router.get("", openapi_extra=access(Access.HOSPITAL_OPERATOR))
    async def residents(request: Request) -> Response:
        """The page."""
        return await answer(request)

    @router.post("/rows", openapi_extra=access(Access.HOSPITAL_OPERATOR))
    async def rows(request: Request) -> Response:
        """The lists as they are now: another page, a search, or after somebody's change."""
        return await answer(request, await _page(request), await _words(request))

    @router.post("/link", openapi_extra=access(Access.HOSPITAL_OPERATOR))
    async def link(request: Request) -> Response:
        """This patient is that resident."""
        return await say(request, await field(request, "resident_id"))

    @router.post("/unlink", openapi_extra=access(Access.HOSPITAL_OPERATOR))
    async def unlink(request: Request) -> Response:
        """Take an operator's link back."""
        return await say(request, None)

    async def say(request: Request, resident_id: str | None) -> Response:
        claims = identity_of(request).claims
        hospital, patient_id = await field(request, "hospital"), await field(request, "patient_id")
        said = await review.say(claims, hospital, patient_id, resident_id)
        return await answer(request, await _page(request), await _words(request), f"residents.{said}")

    return router


async def _words(request: Request) -> str:
    return (await field(request, "words"))[:64]


async def _page(request: Request) -> int:
    page = await field(request, "page")
    return min(max(int(page), 1), MAX_PAGE) if page.isdecimal() and len(page) < 5 else 1
