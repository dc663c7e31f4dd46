"""`/portal/apply`: the application form. It is kept as one types; the consult service says what is still missing."""

import secrets
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import unquote
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from gateway.api.forms import csrf_protected, field
from gateway.api.pages import unseen
from gateway.api.portal import Portal, session_of
from gateway.api.roles import for_image_roles
from gateway.consult_desk import application as forms
from gateway.consult_desk.write import WriteApplication
from gateway.errors import ConsultConflict, ConsultNotFound, ConsultRefused
from gateway.usecases.case_studies import case_studies, read_refs
from gateway.usecases.view_patient import ViewPatient
from gateway.web.render import Renderer
from imaging_common.http import Access, access

MAX_FIELDS = 600
MAX_FILE_BYTES = 20 * 1024 * 1024
IMAGES_SHOWN = 48
OPEN = ("draft", "returned")
DOCTORS = access(Access.IMAGE_ROLES)


async def large_form(request: Request) -> None:
    """Read the form before anybody else does: it may hold many key images."""
    if request.headers.get("content-type", "").startswith(("application/x-www-form-urlencoded", "multipart/form-data")):
        await request.form(max_files=0, max_fields=MAX_FIELDS)


def build_apply(portal: Portal, renderer: Renderer) -> APIRouter:
    """The form, its saving, and what it looks up."""
    guards = [Depends(for_image_roles), Depends(large_form), Depends(csrf_protected)]
    router = APIRouter(prefix="/portal/apply", dependencies=guards)
    zone = ZoneInfo(portal.settings.time_zone)
    view = ViewPatient(portal.index, portal.reports.reports, portal.audit)
    desk = portal.desk
    write = WriteApplication(portal.index, view, desk)

    def token(request: Request) -> str:
        return session_of(request).tokens.access

    async def written(request: Request) -> dict[str, Any]:
        """The form as an application; 404 when it names a study that the applicant may not see."""
        form = await request.form(max_files=0, max_fields=MAX_FIELDS)
        values = {name: [str(value) for value in form.getlist(name)] for name in form}
        application = forms.read_application(values, zone)
        subject = await portal.subject_of(request)
        seen = await write.all_visible(subject, read_refs(values.get("ref", [])))
        if seen is None:
            raise HTTPException(404)
        offered = await write.offered(subject, read_refs(values.get("ref", [])[:1])) if seen else None
        return application | ({"patient": offered.patient} if offered else {})

    async def known(request: Request, draft: str) -> dict[str, Any]:
        """A draft or returned case of this person's, that is theirs to write."""
        try:
            case = await desk.case(token(request), draft)
        except ConsultNotFound as error:
            raise HTTPException(404) from error
        return case

    async def page(
        request: Request, case: dict[str, Any], *, status: int = 200, problem: str = "", once: str = ""
    ) -> Response:
        refs = read_refs([f"{study['holder']}/{study['study_uid']}" for study in case.get("studies", ())])
        offered = await write.offered(await portal.subject_of(request), refs)
        hospitals = {entry.hospital: entry for entry in await portal.registry.all()}
        own = session_of(request).claims.hospital
        targets = [entry for entry in hospitals.values() if entry.hospital != own]
        levels = {level: [one for one in targets if one.level == level] for level in {one.level: 0 for one in targets}}
        return renderer.page(
            request,
            "apply.html",
            status=status,
            case=EMPTY | {name: value for name, value in case.items() if value is not None},
            chosen={f"{ref.holder}/{ref.study_uid}" for ref in refs},
            studies=offered.views if offered else [],
            patient=offered.views and next(v for v in offered.views if v.study_uid == offered.named[0].study_uid)
            if offered
            else None,
            keys=[(forms.key_image_value(key), key) for key in case.get("key_images", ())],
            desired=forms.local_time(case.get("desired_at"), zone),
            returned=last_reason(case),
            missing=case.get("missing", []),
            levels=levels,
            hospitals=hospitals,
            required=forms.REQUIRED,
            urgencies=forms.URGENCIES,
            target_kinds=forms.TARGETS,
            consents=forms.CONSENTS,
            kinds=forms.KINDS,
            subspecialties=forms.SUBSPECIALTIES,
            once=once or secrets.token_urlsafe(16),
            problem=problem,
            unseen=await unseen(portal, request),
        )

    async def remembered(request: Request) -> dict[str, str]:
        """Department and phone of the person's last application."""
        try:
            cases, _ = await desk.box(token(request), {"box": "sent", "limit": 20, "offset": 0})
        except ConsultRefused:
            return {}
        user = session_of(request).claims.user
        last = next((case for case in cases if case.get("applicant") == user and case.get("applicant_phone")), {})
        return {name: last.get(name, "") for name in ("applicant_department", "applicant_phone")}

    @router.get("", openapi_extra=DOCTORS)
    async def form(
        request: Request,
        ref: Annotated[list[str], Query(max_length=50)] = [],  # noqa: B006
        draft: Annotated[str, Query(max_length=64)] = "",
    ) -> Response:
        """A new application for the studies that `ref` names (`<holder>/<study>`), or one that was begun."""
        if draft:
            case = await known(request, draft)
            if case["state"] not in OPEN or "submit" not in case.get("allowed", ["submit"]):
                return RedirectResponse(f"/portal/consults/{case['id']}", 303)
            return await page(request, case)
        refs = read_refs(ref)
        if ref and not await case_studies(portal.index, await portal.subject_of(request), refs):
            raise HTTPException(404)
        studies = [{"study_uid": one.study_uid, "holder": one.holder} for one in refs]
        return await page(request, {"studies": studies, **await remembered(request)})

    @router.post("/save", openapi_extra=DOCTORS)
    async def save(request: Request) -> Response:
        """Keep what is written: `{id, revision, missing, saved_at}`; 409 when another window has written since."""
        application = await written(request)
        revision = await field(request, "revision")
        try:
            kept = await write.keep(
                token(request),
                application,
                draft=(await field(request, "draft"))[:64],
                revision=int(revision) if revision.isdecimal() and len(revision) < 9 else 0,
                once=(await field(request, "once"))[:64],
            )
        except ConsultConflict:
            return JSONResponse({"conflict": True}, 409)
        except ConsultNotFound as error:
            raise HTTPException(404) from error
        except ConsultRefused as refused:
            return JSONResponse({"refused": refused.detail}, 422)
        return JSONResponse({**kept, "saved_at": renderer.moment(datetime.now(UTC))[-5:]})

    @router.post("", openapi_extra=DOCTORS)
    async def submit(request: Request) -> Response:
        """Keep it and submit it; shown again with what is missing."""
        application = await written(request)
        draft, revision = (await field(request, "draft"))[:64], await field(request, "revision")
        once = (await field(request, "once"))[:64]
        made_by = f"{once}-submit" if once else ""  # not the autosave's: its answer may have been lost, its text is old
        shown: dict[str, Any] = {"id": draft, **application}
        try:
            number = int(revision) if revision.isdecimal() and len(revision) < 9 else 0
            kept = await write.keep(token(request), application, draft=draft, revision=number, once=made_by)
            case = await known(request, kept["id"])
            shown = {**case, **application, "application_revision": kept["revision"]}
            if kept["missing"]:
                return await page(request, shown | {"missing": kept["missing"]}, status=422, problem="apply.incomplete")
            await desk.submit(token(request), kept["id"], case["version"])
        except ConsultConflict:
            return await page(request, shown, status=409, problem="apply.conflict", once=once)
        except ConsultRefused as refused:
            lacks = refused.members.get("missing", [])
            problem = "apply.incomplete" if lacks else "apply.refused"
            return await page(request, shown | {"missing": lacks}, status=422, problem=problem, once=once)
        return RedirectResponse(f"/portal/consults/{kept['id']}", 303)

    @router.get("/icd10", openapi_extra=DOCTORS)
    async def icd10(request: Request, q: Annotated[str, Query(max_length=64)] = "") -> Response:
        """Codes for what was typed."""
        try:
            return JSONResponse(await desk.read(token(request), "icd10", {"q": q}) if q.strip() else [])
        except ConsultRefused:
            return JSONResponse([])

    @router.get("/experts", openapi_extra=DOCTORS)
    async def experts(
        request: Request,
        q: Annotated[str, Query(max_length=64)] = "",
        hospital: Annotated[str, Query(max_length=64)] = "",
    ) -> Response:
        """Experts whom an application can name."""
        asked = {"q": q, **({"hospital": hospital} if hospital else {})}
        try:
            found = await desk.read(token(request), "experts/search", asked)
        except ConsultRefused:
            found = []
        rows = found.get("experts", []) if isinstance(found, dict) else found
        names = {entry.hospital: entry for entry in await portal.registry.all()}
        return renderer.page(request, "_apply_experts.html", experts=rows[:20], hospitals=names)

    @router.post("/route", openapi_extra=DOCTORS)
    async def route(request: Request) -> Response:
        """Whom the routing table would choose for what is written now."""
        try:
            tried = await desk.ask(token(request), "routing/try", {"application": await written(request)})
        except ConsultRefused:
            tried = {}
        names = {entry.hospital: entry for entry in await portal.registry.all()}
        return renderer.page(request, "_apply_route.html", tried=tried, hospitals=names)

    @router.get("/images", openapi_extra=DOCTORS)
    async def images(
        request: Request,
        ref: Annotated[str, Query(max_length=200)],
        series: Annotated[str, Query(max_length=64)] = "",
    ) -> Response:
        """A study's series, or the images of one of them, to pick key images from."""
        found = await case_studies(portal.index, await portal.subject_of(request), read_refs([ref]))
        if not found:
            raise HTTPException(404)
        all_series = await portal.index.series_of([found[0].id])
        opened = next((one for one in all_series if one.series_uid == series), None)
        listed = await portal.index.instances_of(opened.id) if opened else []
        step = max(1, -(-len(listed) // IMAGES_SHOWN))
        return renderer.page(
            request, "_apply_images.html", study=found[0], series=all_series, opened=opened,
            instances=listed[::step], total=len(listed),
        )  # fmt: skip

    @router.post("/{draft}/files", openapi_extra=DOCTORS)
    async def attach(request: Request, draft: str, kind: Annotated[str, Query(max_length=16)] = "document") -> Response:
        """Add a file: the body as it is, its name in `X-File-Name` (percent-encoded)."""
        if kind not in forms.KINDS:
            raise HTTPException(422, "no such kind of file")
        if int(request.headers.get("content-length") or 0) > MAX_FILE_BYTES:
            raise HTTPException(413, "a file may have 20 MB")
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_FILE_BYTES:
                raise HTTPException(413, "a file may have 20 MB")
        name = unquote(request.headers.get("x-file-name", ""))[:200]
        media_type = request.headers.get("content-type", "application/octet-stream")[:100]
        try:
            await desk.attach(
                token(request), draft, kind=kind, name=name, media_type=media_type, body=bytes(body)
            )  # fmt: skip
        except ConsultNotFound as error:
            raise HTTPException(404) from error
        except ConsultRefused as refused:
            status = refused.status if refused.status in (413, 415) else 422
            raise HTTPException(status, "the file is not taken: PDF, PNG or JPEG up to 20 MB") from refused
        return await files(request, draft)

    @router.get("/{draft}/files", openapi_extra=DOCTORS)
    async def files(request: Request, draft: str) -> Response:
        """The files of the draft."""
        return renderer.page(request, "_apply_files.html", case=await known(request, draft))

    @router.post("/{draft}/files/{file}/remove", openapi_extra=DOCTORS)
    async def detach(request: Request, draft: str, file: str) -> Response:
        """Take a file away."""
        try:
            await desk.detach(token(request), draft, file)
        except ConsultNotFound as error:
            raise HTTPException(404) from error
        return await files(request, draft)

    return router


EMPTY: dict[str, Any] = forms.read_application({}, ZoneInfo("UTC")) | {
    "id": "",
    "number": "",
    "attachments": [],
    "application_revision": 0,
}


def last_reason(case: dict[str, Any]) -> dict[str, Any] | None:
    """The step that returned the case; None: it was not returned."""
    if case.get("state") != "returned":
        return None
    return next((step for step in reversed(case.get("timeline", [])) if step["action"] == "return"), None)
