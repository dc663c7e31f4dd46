"""`/fhir/R4`: metadata, reads and searches, by GET or POST `_search`. Names of people stand in no address of ours."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from gateway.api.portal import Portal
from gateway.fhir.bundles import searchset
from gateway.fhir.capability import ENDPOINT_PARAMETERS, PATIENT_PARAMETERS, capability
from gateway.fhir.desk import NOT_FOUND, Desk
from gateway.fhir.names import BASE, MEDIA_TYPE
from gateway.fhir.outcome import FhirError, FhirRoute, fhir
from gateway.fhir.parameters import Search, read_search
from gateway.fhir.reports import REPORT_PARAMETERS, REPORT_SORTS, ReportShelf
from gateway.fhir.resources import ENDPOINTS
from gateway.fhir.seal import PatientIds
from gateway.fhir.studies import RECENT_PARAMETERS, STUDY_PARAMETERS, STUDY_SORTS, StudyShelf
from gateway.fhir.tasks import (
    REQUEST_PARAMETERS,
    REQUEST_SORTS,
    TASK_PARAMETERS,
    TASK_SORTS,
    CaseShelf,
    known,
)
from imaging_common.http import Access, access

MAX_BODY = 100_000
RULE = access(Access.EHR_OR_STUDY)
ADDRESSES = access(Access.AUTHENTICATED)
CASES = access(Access.CASE)
Answer = Callable[[Request, Search], Awaitable[Any]]


def build_fhir(portal: Portal) -> APIRouter:
    """Every route answers `application/fhir+json`, errors too."""
    router = APIRouter(prefix=BASE, route_class=FhirRoute)
    desk = Desk(portal, PatientIds(portal.settings.session_secret.get_secret_value()))
    studies, reports, cases = StudyShelf(desk), ReportShelf(desk), CaseShelf(desk)

    @router.get("/metadata", openapi_extra=access(Access.PUBLIC))
    async def metadata(_: Request) -> Response:
        """What this server can do."""
        return fhir(capability(portal.settings.public_url))

    async def endpoints(_: Request, search: Search) -> Any:
        writer = await desk.writer([])
        found = [writer.endpoint(name) for name in ENDPOINTS]
        for values in search.values.get("_id", []):
            found = [one for one in found if one.id in values]
        for tokens in search.tokens("connection-type"):
            found = [one for one in found if one.connectionType.code in {token.code for token in tokens}]
        for tokens in search.tokens("status"):
            found = [one for one in found if one.status in {token.code for token in tokens}]
        return searchset(writer.base, "Endpoint", search, found, total=len(found))

    def searchable(
        path: str, posted: str, answer: Answer, names: Sequence[str], sorts: Sequence[str] = (), rule: Any = RULE
    ) -> None:
        async def search(request: Request) -> Response:
            strict = "handling=strict" in request.headers.get("prefer", "")
            asked = read_search(await _pairs(request), names, sorts=sorts, strict=strict)
            return fhir(await answer(request, asked))

        router.add_api_route(path, search, methods=["GET"], openapi_extra=rule)
        router.add_api_route(posted, search, methods=["POST"], openapi_extra=rule)

    recent = "/ImagingStudy/$recent-examinations"
    searchable(recent, recent, studies.recent, RECENT_PARAMETERS)
    searchable("/ImagingStudy", "/ImagingStudy/_search", studies.search, STUDY_PARAMETERS, STUDY_SORTS)
    searchable("/DiagnosticReport", "/DiagnosticReport/_search", reports.search, REPORT_PARAMETERS, REPORT_SORTS)
    searchable("/Task", "/Task/_search", cases.tasks, known(TASK_PARAMETERS), TASK_SORTS, CASES)
    searchable(
        *("/ServiceRequest", "/ServiceRequest/_search"), cases.requests, known(REQUEST_PARAMETERS), REQUEST_SORTS, CASES
    )
    searchable("/Endpoint", "/Endpoint/_search", endpoints, ENDPOINT_PARAMETERS, rule=ADDRESSES)

    async def patients(request: Request, search: Search) -> Any:
        search.patients += [("identifier", ",".join(values)) for values in search.values.pop("identifier", [])]
        search.used = [pair for pair in search.used if pair[0] != "identifier"]
        return await studies.patients(request, search)

    searchable("/Patient", "/Patient/_search", patients, PATIENT_PARAMETERS)

    @router.get("/ImagingStudy/{study_uid}", openapi_extra=RULE)
    async def imaging_study(request: Request, study_uid: str) -> Response:
        """One study; its id is the Study Instance UID."""
        return fhir(await studies.read(request, study_uid))

    @router.get("/DiagnosticReport/{report}", openapi_extra=RULE)
    async def diagnostic_report(request: Request, report: str) -> Response:
        """One report."""
        return fhir(await reports.read(request, report))

    @router.get("/Task/{consult_id}", openapi_extra=CASES)
    async def task(request: Request, consult_id: str) -> Response:
        """The work on one case, for its parties."""
        return fhir(await cases.task(request, consult_id))

    @router.get("/ServiceRequest/{consult_id}", openapi_extra=CASES)
    async def service_request(request: Request, consult_id: str) -> Response:
        """What one case asks for, for its parties."""
        return fhir(await cases.request(request, consult_id))

    @router.get("/Binary/{binary}", openapi_extra=RULE)
    async def binary(request: Request, binary: str) -> Response:
        """A PDF of a report, to be saved; it cannot run as part of the portal."""
        headers = {
            "Cache-Control": "no-store",
            "Content-Security-Policy": "default-src 'none'; sandbox",
            "Content-Disposition": 'attachment; filename="report.pdf"',
        }
        return Response(await reports.document(request, binary), media_type="application/pdf", headers=headers)

    @router.get("/Patient/{patient}", openapi_extra=RULE)
    async def patient(request: Request, patient: str) -> Response:
        """One patient by the sealed id: identifiers only."""
        return fhir(await studies.patient(request, patient))

    @router.get("/Endpoint/{name}", openapi_extra=ADDRESSES)
    async def endpoint(_: Request, name: str) -> Response:
        """One endpoint."""
        if name not in ENDPOINTS:
            raise HTTPException(404, NOT_FOUND)
        return fhir((await desk.writer([])).endpoint(name))

    @router.api_route(
        "/{rest:path}",
        methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
        include_in_schema=False,
        openapi_extra=RULE,
    )
    async def nothing(request: Request, rest: str) -> Response:
        """Whatever else FHIR knows and this server does not."""
        if request.method == "GET":
            raise HTTPException(404, NOT_FOUND)
        raise FhirError(405, "not-supported", "this server is read only")

    return router


async def _pairs(request: Request) -> list[tuple[str, str]]:
    """The parameters of the address and of the body: a form (`_search`), or a Parameters resource."""
    pairs = list(request.query_params.multi_items())
    if request.method != "POST":
        return pairs
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in (MEDIA_TYPE, "application/json"):
        return pairs + _of_resource(await request.body())
    form = await request.form(max_files=0, max_fields=100)
    return pairs + [(name, value) for name, value in form.multi_items() if isinstance(value, str)]


def _of_resource(body: bytes) -> list[tuple[str, str]]:
    try:
        resource: Any = orjson.loads(body) if len(body) <= MAX_BODY else {}
        parts: Any = resource["parameter"] if resource["resourceType"] == "Parameters" else None
        named = [(part["name"], [part[key] for key in part if key.startswith("value")]) for part in parts]
        return [(name, _text(values[0])) for name, values in named if values]
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise FhirError(400, "structure", "the body is no Parameters resource") from error


def _text(value: Any) -> str:
    """A parameter's value as a search writes it: Identifier and Coding are tokens, Reference its reference."""
    if not isinstance(value, dict):
        return str(value)
    if "reference" in value:
        return str(value["reference"])
    code = value.get("value") or value.get("code") or ""
    return f"{value['system']}|{code}" if value.get("system") else str(code)
