"""The study list."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response

from gateway.api.forms import csrf_protected, field
from gateway.api.pages import unseen
from gateway.api.portal import Portal, session_of
from gateway.api.roles import for_image_roles
from gateway.model import HospitalEntry
from gateway.usecases.case_studies import case_studies, read_refs
from gateway.usecases.search_studies import BODY_PARTS, MODALITIES, PAGE_SIZE, StudySearch, search_studies
from gateway.web.i18n import Translator
from gateway.web.patient_keys import PatientKeys
from gateway.web.places import PlaceView, away_text, places_of, progress_text
from gateway.web.present import documents_of, row_view
from gateway.web.render import Renderer, language_of, wants_fragment
from imaging_common.http import Access, access

FIELDS = ("words", "modality", "body_part", "date_from", "date_to", "page")


def build_studies(portal: Portal, renderer: Renderer) -> APIRouter:
    """`/portal/studies`: the list, its search by POST (no name ever stands in an address), and its live part."""
    router = APIRouter(prefix="/portal/studies", dependencies=[Depends(for_image_roles), Depends(csrf_protected)])
    keys = PatientKeys(portal.settings.session_secret.get_secret_value())

    async def found(request: Request, search: StudySearch, reason: str) -> dict[str, Any]:
        subject = await portal.subject_of(request)
        page, hospitals = await asyncio.gather(
            search_studies(portal.index, portal.audit, subject, search, reason=reason), portal.registry.all()
        )
        names = {entry.hospital: entry for entry in hospitals}
        first = (search.page - 1) * PAGE_SIZE
        places = await places_of(portal.retriever, [document for row in page.rows for document in documents_of(row)])
        return {
            "search": search,
            "rows": [row_view(row, places) for row in page.rows],
            "away": aways(request, subject.hospital, places.values(), names),
            "progress_text": progress_text,
            "first": first + 1,
            "last": first + len(page.rows),
            "total": first + len(page.rows) + page.remaining,
            "more": page.more,
            "hospitals": names,
            "patient_key": lambda study: keys.of_study(session_of(request), study),
        }

    def aways(request: Request, own: str, places: Iterable[PlaceView], names: Mapping[str, HospitalEntry]) -> list[str]:
        """A line for each hospital of the list, and the own one, that cannot be asked, in words."""
        t = Translator(language_of(request))
        found = {place.away.holder: place.away for place in places if place.away and place.away.reason != "study-gone"}
        if own and (away := portal.retriever.away(own)):
            found[own] = away
        return [
            away_text(away, names[holder].name(t.language) if holder in names else holder, t, renderer.moment)
            for holder, away in found.items()
        ]

    @router.post("/progress", openapi_extra=access(Access.IMAGE_ROLES))
    async def progress(request: Request) -> Response:
        """The progress bars of the studies that a page shows, as they are now."""
        form = await request.form()
        refs = read_refs([value for value in form.getlist("shown") if isinstance(value, str)])
        documents = await case_studies(portal.index, await portal.subject_of(request), refs)
        places = await places_of(portal.retriever, documents)
        return renderer.page(request, "_progress.html", places=places.values(), progress_text=progress_text)

    @router.get("", openapi_extra=access(Access.IMAGE_ROLES))
    async def studies(request: Request) -> Response:
        """The whole page, with this session's last search."""
        search = StudySearch.read(session_of(request).search)
        context = await found(request, search, "list")
        return renderer.page(
            request,
            "studies.html",
            modalities=list(MODALITIES),
            body_parts=list(BODY_PARTS),
            unseen=await unseen(portal, request),
            **context,
        )

    @router.get("/rows", openapi_extra=access(Access.IMAGE_ROLES))
    async def rows(request: Request) -> Response:
        """The list alone, as it is now."""
        search = StudySearch.read(session_of(request).search)
        return renderer.page(request, "_studies.html", **await found(request, search, "live"))

    @router.post("/search", openapi_extra=access(Access.IMAGE_ROLES))
    async def search(request: Request) -> Response:
        """A new search, or another page of it."""
        session = session_of(request)
        wanted = StudySearch.read({name: await field(request, name) for name in FIELDS})
        session.search = wanted.form()
        await portal.sessions.remember_search(session.key, session.search)
        if not wants_fragment(request):
            return RedirectResponse("/portal/studies", 303)
        return renderer.page(request, "_studies.html", **await found(request, wanted, "search"))

    return router
