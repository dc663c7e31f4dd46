"""The EHR's pages: the residents, a resident's record, the images in a frame, an order with its reminder."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sse_starlette import EventSourceResponse
from starlette.exceptions import HTTPException

from imaging_native.ehr_standin.cloud import Cloud, CloudAway
from imaging_native.ehr_standin.events import Subscription, link_patient
from imaging_native.ehr_standin.residents import DOCTORS, HOSPITALS, Doctor, Resident
from imaging_native.ehr_standin.settings import EhrSettings
from imaging_native.ehr_standin.smart import SmartServer
from imaging_native.ehr_standin.texts import HTML_LANG, LANGUAGES, TEXTS
from imaging_native.ehr_standin.views import report_row, study_row

MODALITIES = ("CT", "MR", "DX", "US", "MG")
PARTS = ("CHEST", "ABDOMEN", "HEAD", "LSPINE", "KNEE", "PELVIS")
DOCTOR_COOKIE, LANGUAGE_COOKIE = "ehr-doctor", "ehr-language"
PURPOSE = "TREAT"
BEAT_SECONDS = 15
RESIDENT = re.compile(r"[0-9A-Za-z._-]{1,24}")
UID = re.compile(r"[0-9.]{1,64}")


class Ehr:
    """What the pages share."""

    def __init__(
        self, settings: EhrSettings, cloud: Cloud, events: Subscription, smart: SmartServer, people: dict[str, Resident]
    ) -> None:
        self.settings, self.cloud, self.events, self.smart, self.people = settings, cloud, events, smart, people
        self.zone = ZoneInfo(settings.time_zone)
        self.revisions: dict[tuple[str, str], int] = {}
        loader = FileSystemLoader(Path(__file__).parent / "templates")
        self._templates = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True,
                                      lstrip_blocks=True)  # fmt: skip

    def doctor_of(self, request: Request) -> Doctor:
        """Who sits before this browser; this EHR asks for no password, since nobody in it exists."""
        wanted = request.cookies.get(DOCTOR_COOKIE)
        return next((doctor for doctor in DOCTORS if doctor.user == wanted), DOCTORS[0])

    def user_of(self, request: Request) -> str:
        """Their id at the region's identity provider."""
        return self.doctor_of(request).user

    def resident(self, resident_id: str) -> Resident:
        """A record, else 404."""
        found = self.people.get(resident_id)
        if found is None:
            raise HTTPException(404, "there is no such resident")
        return found

    def page(self, request: Request, template: str, **context: Any) -> HTMLResponse:
        """A page in the browser's language."""
        cookie = request.cookies.get(LANGUAGE_COOKIE, "")
        lang = cookie if cookie in LANGUAGES else "zh"

        def t(key: str, **values: Any) -> str:
            return TEXTS[lang][key].format(**values)

        text = self._templates.get_template(template).render(
            t=t, lang=lang, html_lang=HTML_LANG[lang], doctor=self.doctor_of(request), doctors=DOCTORS,
            people=self.people.values(), today=datetime.now(self.zone).date(), path=request.url.path,
            hospitals={one: names[lang == "en"] for one, names in HOSPITALS.items()}, texts=TEXTS[lang], **context,
        )  # fmt: skip
        return HTMLResponse(text)

    async def record(self, resident: Resident) -> dict[str, Any]:
        """A resident's examinations and reports, by FHIR; `away` says why there are none."""
        try:
            studies, reports = await asyncio.gather(self.cloud.studies(resident.id), self.cloud.reports(resident.id))
        except CloudAway as error:
            return {"studies": [], "reports": [], "away": str(error)}
        rows = [study_row(study, self.zone) for study in studies]
        self.events.knows(resident.id, [row.uid for row in rows])
        return {"studies": rows, "reports": [report_row(report, self.zone) for report in reports], "away": ""}


def build_pages(ehr: Ehr) -> APIRouter:
    """All routes but SMART's."""
    router = APIRouter()

    @router.get("/")
    async def start() -> Response:
        return RedirectResponse(f"/residents/{next(iter(ehr.people))}", 303)

    @router.post("/language/{lang}")
    async def language(request: Request, lang: str) -> Response:
        answer = RedirectResponse(_back(request), 303)
        answer.set_cookie(LANGUAGE_COOKIE, lang if lang in LANGUAGES else "zh", httponly=True, samesite="lax")
        return answer

    @router.post("/doctor")
    async def doctor(request: Request, user: Annotated[str, Form()]) -> Response:
        answer = RedirectResponse(_back(request), 303)
        answer.set_cookie(DOCTOR_COOKIE, user[:100], httponly=True, samesite="lax")
        return answer

    @router.post("/residents")
    async def create(
        id: Annotated[str, Form()], name: Annotated[str, Form()], birth_date: Annotated[str, Form()],
        sex: Annotated[str, Form()], latin: Annotated[str, Form()] = "",
    ) -> Response:  # fmt: skip
        """A new record."""
        try:
            datetime.fromisoformat(birth_date)
        except ValueError as error:
            raise HTTPException(422, "birth_date is no date") from error
        if not RESIDENT.fullmatch(id) or sex not in ("M", "F") or not name.strip() or len(ehr.people) > 1000:
            raise HTTPException(422, "the record cannot be made")
        ehr.people.setdefault(id, Resident(id, name.strip()[:40], latin.strip()[:40], sex, birth_date))
        return RedirectResponse(f"/residents/{id}", 303)

    @router.post("/residents/{resident_id}/links")
    async def link(resident_id: str, hospital: Annotated[str, Form()], patient_id: Annotated[str, Form()]) -> Response:
        """The EHR says who a hospital's patient is; the region's index follows."""
        resident = ehr.resident(resident_id)
        if hospital not in HOSPITALS or not patient_id.strip():
            raise HTTPException(422, "name a hospital and a patient id")
        patient = (hospital, patient_id.strip()[:64])
        revision = ehr.revisions[patient] = ehr.revisions.get(patient, 0) + 1
        await link_patient(ehr.settings, *patient, resident.id, revision)
        resident.patients[hospital] = patient[1]
        return RedirectResponse(f"/residents/{resident_id}", 303)

    @router.get("/residents/{resident_id}")
    async def resident(request: Request, resident_id: str) -> Response:
        """The record; the regional cloud is told that it is open."""
        one = ehr.resident(resident_id)
        with contextlib.suppress(CloudAway):
            await ehr.cloud.opened(one.id)
        return ehr.page(request, "resident.html", resident=one, **await ehr.record(one))

    @router.get("/residents/{resident_id}/record")
    async def record(request: Request, resident_id: str) -> Response:
        """The examinations and reports alone, as they are now."""
        one = ehr.resident(resident_id)
        return ehr.page(request, "_record.html", resident=one, **await ehr.record(one))

    @router.get("/residents/{resident_id}/events")
    async def events(resident_id: str) -> Response:
        """Server-sent events: something about this resident has changed."""
        one = ehr.resident(resident_id)

        async def stream() -> AsyncIterator[dict[str, Any]]:
            async with ehr.events.page(one.id) as queue:
                yield {"event": "hello", "data": "1", "retry": 1000}
                while True:
                    yield {"event": "changed", "data": await queue.get()}

        return EventSourceResponse(stream(), ping=BEAT_SECONDS)

    @router.post("/residents/{resident_id}/open")
    async def open_images(request: Request, resident_id: str, study: Annotated[str, Form()] = "") -> Response:
        """A launch code for one window on this resident's images; the page posts it into the frame."""
        one, doctor = ehr.resident(resident_id), ehr.doctor_of(request)
        asked: dict[str, Any] = {"user": doctor.user, "name": doctor.name, "hospital": doctor.hospital,
                                 "resident": one.id, "purpose": PURPOSE}  # fmt: skip
        if study:
            asked["show"] = [study if UID.fullmatch(study) else ""]
        try:
            launch = await ehr.cloud.launch(asked)
        except CloudAway as error:
            return JSONResponse({"detail": str(error)}, 502)
        return JSONResponse({"code": launch["code"], "action": launch["action"]})

    @router.post("/residents/{resident_id}/smart")
    async def smart(request: Request, resident_id: str, study: Annotated[str, Form()] = "") -> Response:
        """SMART App Launch of the portal for this resident."""
        one = ehr.resident(resident_id)
        uid = study if UID.fullmatch(study) else ""
        return RedirectResponse(ehr.smart.launch_url(ehr.doctor_of(request), one.id, uid), 303)

    @router.get("/residents/{resident_id}/documents/{binary}")
    async def document(resident_id: str, binary: str) -> Response:
        """A report's PDF, fetched with the EHR's own account."""
        ehr.resident(resident_id)
        try:
            data = await ehr.cloud.document(f"/fhir/R4/Binary/{binary}")
        except CloudAway as error:
            raise HTTPException(502, str(error)) from error
        headers = {"Content-Disposition": 'attachment; filename="report.pdf"'}
        return Response(data, media_type="application/pdf", headers=headers)

    @router.get("/residents/{resident_id}/order")
    async def order(request: Request, resident_id: str) -> Response:
        """The order form."""
        one = ehr.resident(resident_id)
        return ehr.page(request, "order.html", resident=one, modalities=MODALITIES, parts=PARTS, placed=False)

    @router.post("/residents/{resident_id}/order")
    async def place(request: Request, resident_id: str) -> Response:
        """Note the order; this EHR sends it nowhere."""
        one = ehr.resident(resident_id)
        return ehr.page(request, "order.html", resident=one, modalities=MODALITIES, parts=PARTS, placed=True)

    @router.post("/residents/{resident_id}/recent")
    async def recent(
        request: Request, resident_id: str, modality: Annotated[str, Form()], part: Annotated[str, Form()] = ""
    ) -> Response:
        """What the regional cloud knows of recent examinations like this one."""
        one = ehr.resident(resident_id)
        if modality not in MODALITIES or part not in ("", *PARTS):
            raise HTTPException(422, "the order cannot be made")
        try:
            found = [study_row(study, ehr.zone) for study in await ehr.cloud.recent(one.id, modality, part)]
        except CloudAway as error:
            return ehr.page(request, "_recent.html", resident=one, found=[], away=str(error))
        return ehr.page(request, "_recent.html", resident=one, found=found, away="")

    return router


def _back(request: Request) -> str:
    """The page that was left, on this very site."""
    path = request.query_params.get("next", "/")
    return path if re.fullmatch(r"/(?![/\\])[0-9A-Za-z/._-]*", path) else "/"
