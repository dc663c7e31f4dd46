"""Errors as `application/problem+json` (RFC 9457), without echoing what was sent."""

from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from imaging_common.errors import RejectedError, RetryableError
from imaging_common.telemetry.logs import place_of

_log = structlog.get_logger(__name__)
MEDIA_TYPE = "application/problem+json"


class Problem(HTTPException):
    """An answer with further members beside status and detail: `raise Problem(409, "…", version=4)`."""

    def __init__(
        self, status: int, detail: str | None = None, *, headers: dict[str, str] | None = None, **members: Any
    ) -> None:
        super().__init__(status, detail, headers)
        self.members = members


def problem(
    status: int, detail: str | None = None, headers: dict[str, str] | None = None, **members: Any
) -> JSONResponse:
    """Return a problem document as an answer."""
    title = HTTPStatus(status).phrase
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail or title, **members}
    return JSONResponse(body, status_code=status, headers=headers, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Have `app` answer every error with a problem."""

    @app.exception_handler(HTTPException)
    async def on_http_error(_: Request, error: HTTPException) -> JSONResponse:
        members = error.members if isinstance(error, Problem) else {}
        headers = dict(error.headers) if error.headers else None
        if isinstance(error.detail, str) or error.detail is None:
            return problem(error.status_code, error.detail, headers, **members)
        return problem(error.status_code, None, headers, errors=error.detail, **members)

    @app.exception_handler(RequestValidationError)
    async def on_invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        where = [{"where": ".".join(map(str, e["loc"])), "problem": e["msg"]} for e in error.errors()]
        return problem(422, "the request does not fit", errors=where)

    @app.exception_handler(RejectedError)
    async def on_rejected(_: Request, error: RejectedError) -> JSONResponse:
        return problem(422, str(error))

    @app.exception_handler(RetryableError)
    async def on_retryable(_: Request, error: RetryableError) -> JSONResponse:
        _log.warning("dependency-away", error=type(error).__name__, text=str(error))
        return problem(503, "a part of the system is away; try again", {"Retry-After": "5"})

    @app.exception_handler(Exception)
    async def on_crash(request: Request, error: Exception) -> JSONResponse:
        _log.error("request-failed", method=request.method, route=route_of(request.scope), error=place_of(error))
        return problem(500)


def route_of(scope: Any) -> str:
    """The template of the route that took the request; never the path itself."""
    return str(getattr(scope.get("route"), "path", "")) or "unmatched"
