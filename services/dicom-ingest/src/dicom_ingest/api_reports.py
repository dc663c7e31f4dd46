"""HTTP in: the hospitals' reports. `POST /reports` takes HL7 v2 as it came, `POST /fhir/DiagnosticReport` FHIR R4."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse

from dicom_ingest.api import read_bounded
from dicom_ingest.api_senders import sender_from
from dicom_ingest.errors import BadRequest
from dicom_ingest.model import Sender
from dicom_ingest.settings import Settings
from dicom_ingest.usecases.store_report import StoreReport
from imaging_common.audit import AuditTrail
from imaging_common.auth import TokenVerifier
from imaging_common.http import Access, Problem, access
from imaging_common.objects.store import StoreFull
from imaging_common.reports import UnreadableMessage
from imaging_common.reports.fhir import MEDIA_TYPE as FHIR
from imaging_common.reports.hl7v2 import MEDIA_TYPE as HL7

_FHIR_TYPES = frozenset({FHIR, "application/json"})


def build_report_router(
    settings: Settings, store_report: StoreReport, verifier: TokenVerifier, audit: AuditTrail
) -> APIRouter:
    """Both doors; who may send is who may store instances of that hospital."""
    router = APIRouter()
    sender = sender_from(settings, verifier, audit)

    @router.post("/reports", openapi_extra=access(Access.EDGE))
    async def post_message(request: Request, who: Annotated[Sender, Depends(sender)]) -> JSONResponse:
        """Store the reports of an ORU^R01."""
        declared = request.headers.get("content-type", "")
        if _kind_of(declared) != HL7:
            raise Problem(415, f"the body must be {HL7}")
        try:
            data = await read_bounded(request, settings.max_report_bytes)
            stored = await store_report(who, "hl7-oru", data, declared[:100])
        except BadRequest as error:
            raise Problem(error.status, str(error)) from error
        except UnreadableMessage as error:
            raise Problem(422, error.text, reason=error.reason) from error
        except StoreFull as error:
            raise Problem(507, "there is no room; try again later", headers={"Retry-After": "60"}) from error
        return JSONResponse({"reports": [{"report_key": m.report_key, "sha256": m.sha256} for m in stored]})

    @router.post("/fhir/DiagnosticReport", openapi_extra=access(Access.EDGE))
    async def post_resource(request: Request, who: Annotated[Sender, Depends(sender)]) -> JSONResponse:
        """Store one DiagnosticReport (create interaction, FHIR R4 §3.1.0.8)."""
        if _kind_of(request.headers.get("content-type", "")) not in _FHIR_TYPES:
            return outcome(415, "not-supported", f"the body must be {FHIR}")
        try:
            data = await read_bounded(request, settings.max_report_bytes)
            (manifest,) = await store_report(who, "fhir-diagnostic-report", data, FHIR)
        except BadRequest as error:
            return outcome(error.status, "too-long" if error.status == 413 else "invalid", str(error))
        except UnreadableMessage as error:
            return outcome(422, "invalid", error.text)
        except StoreFull:
            return outcome(507, "no-store", "there is no room; try again later", {"Retry-After": "60"})
        location = f"DiagnosticReport/{manifest.report_key}/_history/{manifest.sha256[:16]}"
        body = {
            "resourceType": "DiagnosticReport",
            "id": manifest.report_key,
            "meta": {"versionId": manifest.sha256[:16]},
        }
        return JSONResponse(body, 201, {"Location": location}, FHIR)

    return router


def outcome(status: int, code: str, text: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """An OperationOutcome (FHIR R4 §2.29); `code` is of the value set issue-type."""
    issue: dict[str, Any] = {"severity": "error", "code": code, "diagnostics": text}
    return JSONResponse({"resourceType": "OperationOutcome", "issue": [issue]}, status, headers, FHIR)


def _kind_of(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()
