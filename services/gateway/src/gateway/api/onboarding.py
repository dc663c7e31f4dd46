"""`/portal/onboarding`: a new hospital in one form, its progress, its file (once), new credentials."""

from importlib import resources
from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from gateway.api.forms import csrf_protected, field
from gateway.api.hospitals import REGION, for_region_operators
from gateway.api.pages import unseen
from gateway.api.portal import Portal, identity_of
from gateway.model import HospitalEntry
from gateway.operations.desk import Operations
from gateway.operations.onboarding import (
    FIELDS,
    ROTATION,
    BadForm,
    Form,
    Onboarding,
    bundle,
    read_form,
)
from gateway.retrievals.edges import utc_now
from gateway.usecases.onboard_hospital import OnboardHospital
from gateway.web.render import Renderer

DEFAULTS = {"level": "community", "tier": "central", "pacs_port": "104"}
READMES = {"README.zh.md": "agent_readme.zh.md", "README.en.md": "agent_readme.en.md"}


def build_onboarding(portal: Portal, renderer: Renderer, operations: Operations) -> APIRouter:
    """Form, progress, file, rotation."""
    router = APIRouter(
        prefix="/portal/onboarding", dependencies=[Depends(for_region_operators), Depends(csrf_protected)]
    )

    def desk() -> OnboardHospital:
        if operations.onboard is None:
            raise HTTPException(404)
        return operations.onboard

    async def page(request: Request, template: str, status: int = 200, **context: Any) -> Response:
        return renderer.page(
            request,
            template,
            status=status,
            hospitals={entry.hospital: entry for entry in await portal.registry.all()},
            unseen=await unseen(portal, request),
            **context,
        )

    async def form_page(request: Request, form: dict[str, str], problem: str = "") -> Response:
        known = await operations.onboard.onboardings.all() if operations.onboard else []
        return await page(
            request,
            "ops_onboarding.html",
            422 if problem else 200,
            form=dict.fromkeys(FIELDS, "") | DEFAULTS | form,
            problem=problem,
            onboardings=known,
            missing=[] if operations.onboard else portal.settings.missing_for_onboarding,
        )

    async def one(hospital: str) -> tuple[Onboarding, bool]:
        """The onboarding, and whether its file waits."""
        found = await desk().onboardings.of(hospital)
        if found is None:
            raise HTTPException(404)
        return found, found.complete and found.taken_at is None

    async def progress_page(request: Request, hospital: str, template: str, status: int = 200) -> Response:
        found, waits = await one(hospital)
        return await page(
            request, template, status, onboarding=found, waits=waits, runs=found.runs(utc_now()), problem=""
        )

    @router.get("", openapi_extra=REGION)
    async def onboarding(request: Request) -> Response:
        """The form, and those that were onboarded here."""
        return await form_page(request, {})

    @router.post("", openapi_extra=REGION)
    async def begin(request: Request) -> Response:
        """Begin; a field that cannot be taken is named, and what was typed stays."""
        values = {name: await field(request, name) for name in FIELDS}
        try:
            form = read_form(values)
            await desk().begin(identity_of(request).claims, form)
        except BadForm as error:
            return await form_page(request, values, str(error))
        except ValidationError:
            return await form_page(request, values, "pacs_ae_title")
        return RedirectResponse(f"/portal/onboarding/{form.hospital}", 303)

    @router.get("/{hospital}", openapi_extra=REGION)
    async def hospital_page(request: Request, hospital: str) -> Response:
        """How far a hospital is; one that was there before has only new credentials to wish for."""
        known = {entry.hospital for entry in await portal.registry.all()}
        if hospital in known and await desk().onboardings.of(hospital) is None:
            return RedirectResponse(f"/portal/onboarding/{hospital}/rotate", 303)
        return await progress_page(request, hospital, "ops_onboarding_hospital.html")

    @router.get("/{hospital}/progress", openapi_extra=REGION)
    async def progress(request: Request, hospital: str) -> Response:
        """The part that changes."""
        return await progress_page(request, hospital, "_ops_steps.html")

    @router.post("/{hospital}/resume", openapi_extra=REGION)
    async def resume(request: Request, hospital: str) -> Response:
        """Go on where a step failed, or where a copy of the gateway ended."""
        await one(hospital)
        await desk().go_on(hospital)
        return RedirectResponse(f"/portal/onboarding/{hospital}", 303)

    @router.post("/{hospital}/file", openapi_extra=REGION)
    async def file(request: Request, hospital: str) -> Response:
        """The hospital's file; once, then it is gone here."""
        found = await desk().fetch(identity_of(request).claims, hospital)
        if found is None:
            return await progress_page(request, hospital, "ops_onboarding_hospital.html", 410)
        known, secrets = found
        texts = resources.files("gateway.web").joinpath("texts")
        readme = {name: texts.joinpath(source).read_text("utf-8") for name, source in READMES.items()}
        name = f"edge-agent-{hospital}-{known.run}.zip"
        return Response(
            bundle(known, secrets, operations.addresses, readme),
            media_type="application/zip",
            headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
        )

    @router.get("/{hospital}/rotate", openapi_extra=REGION)
    async def rotate_form(request: Request, hospital: str) -> Response:
        """What shall be new."""
        return await rotation_page(request, hospital)

    async def rotation_page(request: Request, hospital: str, problem: str = "") -> Response:
        entry = next((e for e in await portal.registry.all() if e.hospital == hospital), None)
        if entry is None:
            raise HTTPException(404)
        known = await desk().onboardings.of(hospital)
        return await page(
            request,
            "ops_rotate.html",
            422 if problem else 200,
            entry=entry,
            form=known.form if known else None,
            parts=ROTATION,
            problem=problem,
        )

    @router.post("/{hospital}/rotate", openapi_extra=REGION)
    async def rotate(request: Request, hospital: str) -> Response:
        """Make new credentials: the chosen ones."""
        entry = next((e for e in await portal.registry.all() if e.hospital == hospital), None)
        if entry is None:
            raise HTTPException(404)
        known = await desk().onboardings.of(hospital)
        typed = {name: await field(request, name) for name in ("ae_title", "ae_titles", "csr")}
        parts = tuple([part for part in ROTATION if await field(request, part)])
        try:
            form = read_form(
                {**_fields_of(known.form if known else None, entry), **entry.model_dump(include=set(NAMES)), **typed}
            )
            if not parts:
                raise BadForm("parts")
            if not await desk().rotate(identity_of(request).claims, form, parts):
                raise BadForm("busy")
        except BadForm as error:
            return await rotation_page(request, hospital, str(error))
        except ValidationError:
            return await rotation_page(request, hospital, "pacs_ae_title")
        return RedirectResponse(f"/portal/onboarding/{hospital}", 303)

    return router


NAMES = ("hospital", "name_zh", "name_en", "level", "tier")


def _fields_of(form: Form | None, entry: HospitalEntry) -> dict[str, str]:
    """A form as it was typed; without one (the hospital was there before) what a certificate needs."""
    if form is None:
        empty = dict.fromkeys(FIELDS, "")
        pacs = {"pacs_ae_title": "PACS", "pacs_host": "pacs", "pacs_port": "104"}
        return empty | (pacs if entry.tier == "distributed" else {})
    values = form.model_dump()
    return {name: ",".join(v) if isinstance(v := values[name], list) else str(v) for name in FIELDS}
