"""The start page: what waits for whoever signed in, by role; each list short, with a link to the whole."""

from typing import Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from gateway.api.forms import csrf_protected
from gateway.api.pages import portal_link, unseen
from gateway.api.portal import Portal, identity_of, session_of, works_with_images
from gateway.errors import ConsultRefused, ConsultUnavailable
from gateway.model import HospitalEntry, recipients_of
from gateway.usecases.command_study import OPERATOR_ROLES
from gateway.usecases.work_list import (
    SHOWN,
    Case,
    Part,
    critical_ones,
    drafts_of,
    going_on,
    newest_studies,
    overdue,
    part_of,
    returned_to,
    reviewable,
    sent_by,
    to_answer,
    to_claim,
    todays_studies,
)
from gateway.usecases.work_list import deadline as deadline_of
from gateway.web.patient_keys import PatientKeys
from gateway.web.places import places_of
from gateway.web.present import documents_of, patient_view, row_view
from gateway.web.present_reports import report_row
from gateway.web.render import Renderer
from imaging_common.auth import Claims
from imaging_common.http import Access, access

NOTICES_READ = 200
CASES_READ = 200
TO_LOOK_AT = 50
"""Of what operators have to look at; then the page says "50+"."""


def build_home(portal: Portal, renderer: Renderer) -> APIRouter:
    """`/portal/home` and its live part."""
    router = APIRouter(prefix="/portal/home", dependencies=[Depends(csrf_protected)])
    zone = ZoneInfo(portal.settings.time_zone)
    keys = PatientKeys(portal.settings.session_secret.get_secret_value())

    async def cases(request: Request, box: str) -> list[Case] | None:
        """The hospital's cases in a box; None: the consult service does not answer."""
        try:
            found, _ = await portal.desk.box(
                session_of(request).tokens.access, {"box": box, "limit": CASES_READ, "offset": 0}
            )
        except ConsultUnavailable:
            return None
        except ConsultRefused:
            return []
        return list(found)

    async def for_doctors(request: Request, claims: Claims) -> dict[str, Part]:
        subject = await portal.subject_of(request)
        parts: dict[str, Part] = {}
        if claims.hospital:
            today = page = await todays_studies(portal.index, portal.audit, subject, zone)
            if not today.rows:
                page = await newest_studies(portal.index, portal.audit, subject)
            places = await places_of(portal.retriever, [d for row in page.rows for d in documents_of(row)])
            rows = [row_view(row, places) for row in page.rows]
            parts["studies"] = Part(rows, len(today.rows) + today.remaining, today.more)
        sent = await cases(request, "sent")
        parts["sent"] = part_of(sent_by(sent, claims.user)) if sent is not None else Part(away=True)
        parts["returned"] = part_of(returned_to(sent or [], claims.user))
        parts["critical"] = part_of(critical_ones(sent or []))
        found = await portal.reports.search(subject, "", limit=SHOWN, offset=0)
        parts["reports"] = part_of([report_row(report) for report in found])
        return parts

    async def for_experts(request: Request, claims: Claims) -> dict[str, Part]:
        received = await cases(request, "received")
        if received is None:
            return {"answer": Part(away=True)}
        return {
            "answer": part_of(to_answer(received, claims.user)),
            "drafts": part_of(drafts_of(received, claims.user)),
            "second": part_of(reviewable(await cases(request, "review") or [], claims.user)),
            "claim": Part(total=to_claim(received)),
        }

    async def for_coordinators(request: Request) -> dict[str, Part]:
        boxes = [await cases(request, box) for box in ("sent", "received")]
        known = [case for box in boxes if box is not None for case in box]
        return {"cases": part_of(going_on(known)) if None not in boxes else Part(away=True)}

    async def for_operators(claims: Claims, registered: list[HospitalEntry]) -> dict[str, Part]:
        everywhere = "region-operator" in claims.roles
        mine = [h for h in registered if everywhere or h.hospital == claims.hospital]
        hospitals = [h.hospital for h in mine if h.level != "outside"]  # those have neither agent nor images here
        patients, more = await portal.residents.patients.unlinked(hospitals, limit=TO_LOOK_AT, offset=0)
        waiting = await portal.reports.reviewed(claims, limit=TO_LOOK_AT + 1, offset=0)
        return {
            "unlinked": part_of([patient_view(one) for one in patients], more=more),
            "review": part_of([report_row(report) for report in waiting[:TO_LOOK_AT]], more=len(waiting) > TO_LOOK_AT),
            "edges": Part([edge_row(hospital) for hospital in hospitals], len(hospitals)),
        }

    def edge_row(hospital: str) -> dict[str, Any]:
        state, away = portal.retriever.edges.state(hospital), portal.retriever.away(hospital)
        return {"hospital": hospital, "away": away, "heard_at": state.heard_at if state else None}

    async def for_auditors(claims: Claims) -> dict[str, Part]:
        told = await portal.notices.latest(recipients_of(claims), claims.user, NOTICES_READ)
        opened = [{**notice, "link": portal_link(notice["link"])} for notice in told if "break-glass" in notice["kind"]]
        return {"broken": part_of(opened)}

    async def context(request: Request) -> dict[str, Any]:
        claims = identity_of(request).claims
        registered = await portal.registry.all()
        parts: dict[str, Part] = {}
        if "expert" in claims.roles:
            parts |= await for_experts(request, claims)
        if works_with_images(identity_of(request)):
            parts |= await for_doctors(request, claims)
        if "coordinator" in claims.roles:
            parts |= await for_coordinators(request)
        if claims.roles & OPERATOR_ROLES:
            parts |= await for_operators(claims, registered)
        if "auditor" in claims.roles:
            parts |= await for_auditors(claims)
        session = session_of(request)
        return {
            "parts": parts,
            "overdue": overdue,
            "deadline_of": deadline_of,
            "patient_key": lambda study: keys.of_study(session, study),
            "hospitals": {entry.hospital: entry for entry in registered},
        }

    @router.get("", openapi_extra=access(Access.SIGNED_IN))
    async def home(request: Request) -> Response:
        """The whole page."""
        return renderer.page(request, "home.html", unseen=await unseen(portal, request), **await context(request))

    @router.get("/parts", openapi_extra=access(Access.SIGNED_IN))
    async def parts(request: Request) -> Response:
        """The lists alone, as they are now."""
        return renderer.page(request, "_home.html", **await context(request))

    return router
