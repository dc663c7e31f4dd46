"""One person across hospitals. No address says who: keys are good in one session only (`web/patient_keys.py`)."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from gateway.api.forms import csrf_protected
from gateway.api.pages import unseen
from gateway.api.portal import Portal, session_of
from gateway.api.roles import for_image_roles
from gateway.errors import ConsultRefused, ConsultUnavailable
from gateway.usecases.case_studies import case_studies, read_refs
from gateway.usecases.view_patient import PatientRecord, ViewPatient
from gateway.web.patient_keys import PatientKeys
from gateway.web.places import places_of
from gateway.web.present import study_view
from gateway.web.present_patient import filters_of, person_view, years_of
from gateway.web.render import Renderer
from imaging_common.http import Access, access

COMPARED = 2


def build_patients(portal: Portal, renderer: Renderer) -> APIRouter:
    """`/portal/patients/<key>`, its live part, and two of its studies side by side."""
    router = APIRouter(prefix="/portal/patients", dependencies=[Depends(for_image_roles), Depends(csrf_protected)])
    keys = PatientKeys(portal.settings.session_secret.get_secret_value())
    view = ViewPatient(portal.index, portal.reports.reports, portal.audit)

    async def read(request: Request, key: str) -> PatientRecord:
        ref = keys.read(session_of(request), key)
        if ref is None:
            raise HTTPException(404)
        subject = await portal.subject_of(request)
        if ref.resident_id:
            record = await view.of_resident(subject, ref.resident_id)
        else:
            record = await view.of_patient(subject, ref.patient_key)
        if not record.rows:
            raise HTTPException(404)
        return record

    async def cases_of(request: Request) -> tuple[list[Mapping[str, Any]], bool]:
        """The person's own hospital's cases, each once; and whether the consult service answered."""
        found: dict[str, Mapping[str, Any]] = {}
        try:
            for box in ("received", "sent"):
                listed = await portal.consults.list(session_of(request).tokens.access, box)
                found |= {str(case["id"]): case for case in listed}
        except ConsultUnavailable:
            return list(found.values()), False
        except ConsultRefused:
            pass
        return list(found.values()), True

    async def context(request: Request, key: str) -> dict[str, Any]:
        record = await read(request, key)
        modalities, parts = filters_of(record)
        modality, part = (request.query_params.get(name, "") for name in ("modality", "part"))
        modality = modality if modality in modalities else ""
        part = part if part in parts else ""
        places = await places_of(portal.retriever, record.documents)
        cases, consults_known = await cases_of(request)
        return {
            "key": key,
            "person": person_view(record),
            "linked": bool(record.resident_id),
            "years": years_of(record, places, cases, modality=modality, part=part),
            "count": len(record.rows),
            "more": record.more,
            "modalities": modalities,
            "parts": parts,
            "modality": modality,
            "part": part,
            "consults_known": consults_known,
            "hospitals": {entry.hospital: entry for entry in await portal.registry.all()},
        }

    @router.get("/{key}", openapi_extra=access(Access.IMAGE_ROLES))
    async def patient(request: Request, key: str) -> Response:
        """The whole page."""
        found = await context(request, key)
        return renderer.page(request, "patient.html", unseen=await unseen(portal, request), **found)

    @router.get("/{key}/timeline", openapi_extra=access(Access.IMAGE_ROLES))
    async def timeline(request: Request, key: str) -> Response:
        """The timeline alone, as it is now."""
        return renderer.page(request, "_patient.html", **await context(request, key))

    @router.get("/{key}/compare", openapi_extra=access(Access.IMAGE_ROLES))
    async def compare(request: Request, key: str) -> Response:
        """Two studies of the person (`ref`, `<holder>/<study>`) side by side; with another number, what to do."""
        record = await read(request, key)
        refs = read_refs(request.query_params.getlist("ref"))
        studies = await case_studies(portal.index, await portal.subject_of(request), refs)
        known = {document.id for document in record.documents}
        if any(study.id not in known for study in studies):
            raise HTTPException(404)
        views = [study_view(study) for study in sorted(studies, key=lambda s: (s.study_date, s.study_time))]
        return renderer.page(
            request,
            "compare.html",
            status=200 if len(views) == COMPARED else 422,
            key=key,
            person=person_view(record),
            studies=views if len(views) == COMPARED else [],
            hospitals={entry.hospital: entry for entry in await portal.registry.all()},
            unseen=await unseen(portal, request),
        )

    return router
