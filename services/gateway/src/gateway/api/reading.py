"""What the viewer's bar shows beside OHIF: how far the pixels can be trusted, the watermark, the person's priors; and
the window that shows a series pixel by pixel."""

from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from gateway.api.portal import Portal, identity_of
from gateway.api.roles import for_image_roles
from gateway.dicomweb.access import StudyDoor
from gateway.model import study_ref
from gateway.usecases.find_priors import find_priors
from gateway.usecases.open_viewer import MAX_STUDIES, opened_studies
from gateway.usecases.read_fidelity import read_fidelity
from gateway.web.i18n import Translator
from gateway.web.places import places_of
from gateway.web.present_reading import prior_facts, study_facts, texts_of
from gateway.web.render import Renderer, language_of
from gateway.web.watermark import watermark_of
from imaging_common.access import Action, Subject, decide
from imaging_common.audit import who
from imaging_common.http import Access, access
from imaging_common.ids import is_uid
from imaging_common.index.model import StudyDocument

SERIES_CSP = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'self' {ancestors}"
)
NO_STORE = {"Cache-Control": "no-store"}


def build_reading(portal: Portal, renderer: Renderer) -> APIRouter:
    """`GET /portal/reading/facts`, `/portal/reading/priors` and `/viewer/series`."""
    router = APIRouter(dependencies=[Depends(for_image_roles)])
    door = StudyDoor(portal.index, portal.audit)

    async def opened(request: Request, study: str) -> tuple[Subject, list[StudyDocument]]:
        uids = study.split(",")
        if len(uids) > MAX_STUDIES:
            raise HTTPException(400, f"at most {MAX_STUDIES} studies")
        subject = await portal.subject_of(request)
        return subject, await opened_studies(portal.index, subject, uids)

    async def names(t: Translator) -> dict[str, str]:
        return {entry.hospital: entry.name(t.language) for entry in await portal.registry.all()}

    async def watermark(request: Request, subject: Subject, hospitals: dict[str, str]) -> dict[str, Any] | None:
        settings = portal.settings
        if settings.watermark == "off":
            return None
        name = identity_of(request).claims.name
        hospital = hospitals.get(subject.hospital, subject.hospital)
        text = watermark_of(settings.watermark_text, subject, name, hospital)
        return {"text": text, "opacity": settings.watermark_opacity, "zone": settings.time_zone}

    @router.get("/portal/reading/facts", openapi_extra=access(Access.STUDY))
    async def facts(request: Request, study: str) -> JSONResponse:
        """The open studies at each holder, the watermark, and the bar's texts in the reader's language."""
        subject, documents = await opened(request, study)
        t = Translator(language_of(request))
        hospitals = await names(t)
        places = await places_of(portal.retriever, documents)
        retrieved = await portal.retriever.retrievals([d.id for d in documents if d.tier != "central"])
        shown = []
        for document in documents:
            fidelity = await read_fidelity(portal.index, document)
            retrieval = retrieved.get(document.id)
            when = retrieval.changed_at if retrieval is not None and retrieval.state == "done" else None
            reason = decide(subject, Action.VIEW, study_ref(document)).reason
            name = hospitals.get(document.holder, document.holder)
            shown.append(study_facts(fidelity, places[document.id], name, reason, when, t, renderer.moment))
        answer = {
            "studies": shown,
            "watermark": await watermark(request, subject, hospitals),
            "texts": texts_of(t),
        }
        return JSONResponse(answer, headers=NO_STORE)

    @router.get("/portal/reading/priors", openapi_extra=access(Access.STUDY))
    async def priors(request: Request, study: str) -> JSONResponse:
        """Other studies of the same person that this reader may see; recorded as the search that it is."""
        subject, documents = await opened(request, study)
        t = Translator(language_of(request))
        hospitals = await names(t)
        found = await find_priors(portal.index, subject, documents)
        await portal.audit.record(
            action="search",
            outcome="success",
            **who(subject),
            count=len(found),
            reason="priors",
            resident_id=documents[0].resident_id if documents else None,
        )
        return JSONResponse({"priors": [prior_facts(prior, hospitals) for prior in found]}, headers=NO_STORE)

    @router.get("/viewer/series", openapi_extra=access(Access.STUDY))
    async def series_window(request: Request, study: str, series: str, holder: str) -> Response:
        """A page with one series at one image pixel per screen pixel; the pictures come from DICOMweb, as PNG."""
        subject = await portal.subject_of(request)
        if not is_uid(series):
            raise HTTPException(404, "there is no such series")
        await door.open(subject, study, holder)
        t = Translator(language_of(request))
        hospitals = await names(t)
        mark = await watermark(request, subject, hospitals) or {}
        page = renderer.page(
            request,
            "reading_series.html",
            study=study,
            series=series,
            holder=holder,
            hospital=hospitals.get(holder, holder),
            watermark=mark,
        )
        page.headers["Content-Security-Policy"] = SERIES_CSP.format(ancestors=portal.settings.frame_ancestors).strip()
        return page

    return router
