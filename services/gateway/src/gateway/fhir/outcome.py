"""Errors as OperationOutcome (FHIR R4B §3.1.0.1.5), without echoing what was sent; a route class that answers so."""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import structlog
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from fhir.resources.R4B.operationoutcome import OperationOutcome
from pymongo.errors import PyMongoError
from starlette.exceptions import HTTPException

from gateway.errors import ConsultRefused, HolderAway
from gateway.fhir.names import MEDIA_TYPE
from imaging_common.errors import RetryableError
from imaging_common.objects.ports import ObjectDamaged
from imaging_common.telemetry.logs import place_of

_log = structlog.get_logger(__name__)
_CODES = {
    400: "invalid", 401: "login", 403: "forbidden", 404: "not-found", 405: "not-supported", 406: "not-supported",
    410: "deleted", 413: "too-long", 422: "invalid", 503: "transient",
}  # fmt: skip


class FhirError(HTTPException):
    """An answer with an issue type of its own (`IssueType`, e.g. `too-costly`)."""

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(status, text)
        self.code = code


def outcome(status: int, text: str, code: str = "", headers: Mapping[str, str] | None = None) -> Response:
    """An OperationOutcome with one issue."""
    issue = {"severity": "error", "code": code or _CODES.get(status, "processing"), "diagnostics": text}
    resource = OperationOutcome.model_validate({"resourceType": "OperationOutcome", "issue": [issue]})
    return fhir(resource, status, headers)


def fhir(resource: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A resource as an answer; nobody keeps it."""
    fixed = {"Cache-Control": "no-store", **(headers or {})}
    return Response(resource.model_dump_json(), status, headers=fixed, media_type=MEDIA_TYPE)


class FhirRoute(APIRoute):
    """Whatever goes wrong behind it is told as an OperationOutcome."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """See `APIRoute.get_route_handler`."""
        original = super().get_route_handler()

        async def handler(request: Request) -> Response:
            try:
                return await original(request)
            except FhirError as error:
                return outcome(error.status_code, error.detail, error.code)
            except HTTPException as error:
                text = error.detail if isinstance(error.detail, str) else "the request is not taken"
                return outcome(error.status_code, text, headers=error.headers)
            except RequestValidationError:
                return outcome(400, "the request does not fit")
            except ConsultRefused as error:
                return outcome(404 if error.status == 404 else 403, "there is no such resource")
            except HolderAway as error:
                return outcome(503, str(error), headers={"Retry-After": "5"})
            except (RetryableError, PyMongoError) as error:
                _log.warning("dependency-away", error=type(error).__name__)
                return outcome(503, "a part of the system is away; try again", headers={"Retry-After": "5"})
            except ObjectDamaged as error:
                _log.error("stored-object-damaged", text=str(error))
                return outcome(500, "the stored document is damaged and is not served; it was logged", "exception")
            except Exception as error:
                _log.error("fhir-failed", place=place_of(error))
                return outcome(500, "the request failed; it was logged", "exception")

        return handler
