"""Consults: the application, the boxes, and the case beside its images. The consult service decides; this shows."""

import secrets
from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response
from starlette.exceptions import HTTPException

from gateway.api.forms import csrf_protected, field, fields
from gateway.api.pages import saw_case, unseen
from gateway.api.portal import Portal, session_of
from gateway.api.roles import for_image_roles
from gateway.errors import ConsultConflict, ConsultNotFound, ConsultRefused
from gateway.usecases.case_studies import case_studies, prior_studies, read_refs
from gateway.web.present import CaseView, study_view
from gateway.web.render import Renderer, wants_fragment
from imaging_common.http import Access, access

ACTIONS = ("accept", "reject", "withdraw", "acknowledge")
FORM = ("consultant_hospital", "purpose", "clinical_info", "urgency", "workstation")
URGENCIES = ("routine", "urgent", "emergency")
STATES = ("submitted", "accepted", "drafted", "issued", "acknowledged", "rejected", "withdrawn")


def build_consults(portal: Portal, renderer: Renderer) -> APIRouter:
    """`/portal/apply`, `/portal/consults` and below."""
    router = APIRouter(prefix="/portal", dependencies=[Depends(for_image_roles), Depends(csrf_protected)])
    consults = portal.consults

    async def hospital_names() -> dict[str, Any]:
        return {entry.hospital: entry for entry in await portal.registry.all()}

    async def application(request: Request, refs: list[str], form: dict[str, str], problem: str) -> Response:
        subject = await portal.subject_of(request)
        studies = await case_studies(portal.index, subject, read_refs(refs))
        if not studies:
            raise HTTPException(404)
        hospitals = await hospital_names()
        return renderer.page(
            request,
            "apply.html",
            status=422 if problem else 200,
            studies=[study_view(study) for study in studies],
            priors=[study_view(study) for study in await prior_studies(portal.index, subject, studies)],
            targets=[entry for entry in hospitals.values() if entry.hospital != subject.hospital],
            hospitals=hospitals,
            urgencies=URGENCIES,
            form=form or dict.fromkeys(FORM, ""),
            once=(await field(request, "once") if form else "") or secrets.token_urlsafe(16),
            problem=problem,
            unseen=await unseen(portal, request),
        )

    @router.get("/apply", openapi_extra=access(Access.IMAGE_ROLES))
    async def apply_form(request: Request) -> Response:
        """The application for the studies that `ref` names (`<holder>/<study>`, several)."""
        return await application(request, request.query_params.getlist("ref"), {}, "")

    @router.post("/apply", openapi_extra=access(Access.IMAGE_ROLES))
    async def apply(request: Request) -> Response:
        """Apply; only for studies the applicant may see."""
        form = {name: await field(request, name) for name in FORM}
        refs = await fields(request, "ref")
        named = read_refs(refs)
        studies = await case_studies(portal.index, await portal.subject_of(request), named)
        if not studies or len(studies) != len(named):
            raise HTTPException(404)
        targets = [h for h in await hospital_names() if h != session_of(request).claims.hospital]
        if form["consultant_hospital"] not in targets:
            return await application(request, refs, form, "apply.needs-hospital")
        if not form["purpose"]:
            return await application(request, refs, form, "apply.needs-purpose")
        form["urgency"] = form["urgency"] if form["urgency"] in URGENCIES else "routine"
        body: dict[str, Any] = {**form, "studies": [{"study_uid": s.study_uid, "holder": s.holder} for s in studies]}
        body["workstation"] = form["workstation"] == "yes"
        try:
            once = (await field(request, "once"))[:64]
            consult = await consults.submit(session_of(request).tokens.access, body, once)
        except ConsultRefused:
            return await application(request, refs, form, "apply.refused")
        return RedirectResponse(f"/portal/consults/{consult['id']}", 303)

    async def box_context(request: Request) -> dict[str, Any]:
        claims = session_of(request).claims
        box = request.query_params.get("box", "received" if "expert" in claims.roles else "sent")
        box = box if box in ("sent", "received") else "sent"
        state = request.query_params.get("state", "")
        state = state if state in STATES else ""
        cases = await consults.list(session_of(request).tokens.access, box, state)
        return {"box": box, "state": state, "states": STATES, "cases": cases, "hospitals": await hospital_names()}

    @router.get("/consults", openapi_extra=access(Access.IMAGE_ROLES))
    async def boxes(request: Request) -> Response:
        """Sent and received cases."""
        context = await box_context(request)
        return renderer.page(request, "consults.html", unseen=await unseen(portal, request), **context)

    @router.get("/consults/rows", openapi_extra=access(Access.IMAGE_ROLES))
    async def box_rows(request: Request) -> Response:
        """The list alone, as it is now."""
        return renderer.page(request, "_consults.html", **await box_context(request))

    async def case_context(request: Request, consult: dict[str, Any], **more: Any) -> dict[str, Any]:
        claims = session_of(request).claims
        subject = await portal.subject_of(request)
        refs = read_refs([f"{study['holder']}/{study['study_uid']}" for study in consult["studies"]])
        studies = await case_studies(portal.index, subject, refs)
        return {
            "consult": consult,
            "case": CaseView.of(consult, claims.user, claims.hospital, claims.roles),
            "studies": [study_view(study) for study in studies],
            "hospitals": await hospital_names(),
            "message": "",
            "typed": {},
            "conflict": {},
            **more,
        }

    async def load(request: Request, consult_id: str) -> dict[str, Any]:
        try:
            return await consults.get(session_of(request).tokens.access, consult_id)
        except ConsultNotFound as error:
            raise HTTPException(404) from error

    @router.get("/consults/{consult_id}", openapi_extra=access(Access.CASE))
    async def case_page(request: Request, consult_id: str) -> Response:
        """The case beside its images; notices that led here are seen."""
        context = await case_context(request, await load(request, consult_id))
        await saw_case(portal, request, consult_id)
        return renderer.page(request, "consult.html", unseen=await unseen(portal, request), **context)

    @router.get("/consults/{consult_id}/case", openapi_extra=access(Access.CASE))
    async def case_part(request: Request, consult_id: str) -> Response:
        """The case alone, as it is now."""
        return renderer.page(request, "_case.html", **await case_context(request, await load(request, consult_id)))

    async def answered(request: Request, consult_id: str, act: Any, typed: dict[str, str]) -> Response:
        """Do it, and show the case; when somebody was faster, say so and keep what was typed."""
        more: dict[str, Any] = {}
        status = 200
        try:
            consult = await act()
        except ConsultConflict as conflict:
            status, more = 409, {"message": "case.conflict", "conflict": conflict.members, "typed": typed}
        except ConsultNotFound as error:
            raise HTTPException(404) from error
        except ConsultRefused:
            status, more = 422, {"message": "case.refused", "typed": typed}
        if more or not isinstance(consult, dict) or "timeline" not in consult:
            consult = await load(request, consult_id)
        if not wants_fragment(request) and status == 200:
            return RedirectResponse(f"/portal/consults/{consult_id}", 303)
        context = await case_context(request, consult, **more)
        if wants_fragment(request):
            return renderer.page(request, "_case.html", status=status, **context)
        return renderer.page(request, "consult.html", status=status, unseen=await unseen(portal, request), **context)

    @router.post("/consults/{consult_id}/report", openapi_extra=access(Access.CASE))
    async def report(request: Request, consult_id: str) -> Response:
        """Keep a draft, or issue the report as it stands in the form."""
        token = session_of(request).tokens.access
        typed = {name: await field(request, name) for name in ("findings", "impression", "positive", "intent")}
        draft = {
            "version": await version_of(request),
            "findings": typed["findings"],
            "impression": typed["impression"],
            "positive": typed["positive"] == "yes",
        }

        async def act() -> dict[str, Any]:
            if typed["intent"] == "issue" and not (typed["findings"] and typed["impression"]):
                raise ConsultRefused(422, "findings and impression are needed")
            saved = await consults.save_draft(token, consult_id, draft)
            return await consults.issue(token, consult_id, saved["version"]) if typed["intent"] == "issue" else saved

        return await answered(request, consult_id, act, typed)

    @router.post("/consults/{consult_id}/{action}", openapi_extra=access(Access.CASE))
    async def transition(request: Request, consult_id: str, action: str) -> Response:
        """accept, reject, withdraw, acknowledge."""
        if action not in ACTIONS:
            raise HTTPException(404)
        typed = {"reason": await field(request, "reason")}
        body: dict[str, Any] = {"version": await version_of(request)}
        if typed["reason"]:
            body["reason"] = typed["reason"]

        async def act() -> dict[str, Any]:
            if action == "reject" and not typed["reason"]:
                raise ConsultRefused(422, "a reason is needed")
            return await consults.act(session_of(request).tokens.access, consult_id, action, body)

        return await answered(request, consult_id, act, typed)

    return router


async def version_of(request: Request) -> int:
    """The version of the case the form was made from."""
    text = await field(request, "version")
    if not text.isdigit() or len(text) > 9:
        raise HTTPException(422, "the form names no version")
    return int(text)
