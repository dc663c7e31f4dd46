"""Builds a service's FastAPI application."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import structlog
from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from imaging_common.http import problems
from imaging_common.http.rules import Access, access, require_rules
from imaging_common.settings import ServiceSettings
from imaging_common.telemetry import setup_telemetry, shutdown_telemetry
from imaging_common.telemetry.metrics import HTTP_SECONDS

_log = structlog.get_logger(__name__)
Check = Callable[[], Awaitable[None]]
CHECK_SECONDS = 2.0
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def create_app(
    service: str,
    settings: ServiceSettings,
    *,
    lifespan: Callable[[FastAPI], AbstractAsyncContextManager[Any]],
    checks: Mapping[str, Check],
    details: Mapping[str, Callable[[], str]] | None = None,
) -> FastAPI:
    """Return an application with `/health/live`, `/health/ready` and `/metrics`, to which a service adds its routers.

    Parameters
    ----------
    lifespan
        Starts and stops what the service needs; telemetry is set up before and flushed after it.
    checks
        What `/health/ready` looks at, by name; each raises when it does not work and has two seconds.
    details
        What it tells beside, by name; nothing of it makes the service unready.
    """
    setup_telemetry(service, settings)

    @asynccontextmanager
    async def with_telemetry(app: FastAPI) -> AsyncIterator[Any]:
        require_rules(app)
        try:
            async with lifespan(app) as state:
                _log.info("service-started")
                yield state
        finally:
            _log.info("service-stopped")
            await asyncio.to_thread(shutdown_telemetry)

    app = FastAPI(title=service, lifespan=with_telemetry, docs_url=None, redoc_url=None, openapi_url=None)
    problems.install(app)
    _add_health(app, checks, details or {})
    app.add_middleware(HttpMetrics)
    FastAPIInstrumentor.instrument_app(app, excluded_urls="health/.*,metrics", exclude_spans=["send", "receive"])
    return app


def _add_health(app: FastAPI, checks: Mapping[str, Check], details: Mapping[str, Callable[[], str]]) -> None:
    @app.get("/health/live", include_in_schema=False, openapi_extra=access(Access.PUBLIC))
    async def live() -> dict[str, str]:
        return {"status": "live"}

    @app.get("/health/ready", include_in_schema=False, openapi_extra=access(Access.PUBLIC))
    async def ready() -> JSONResponse:
        outcomes = dict(zip(checks, await asyncio.gather(*map(_run_check, checks.values())), strict=True))
        failed = {name: why for name, why in outcomes.items() if why is not None}
        body: dict[str, Any] = {
            "status": "degraded" if failed else "ready",
            "checks": {name: why or "ok" for name, why in outcomes.items()},
        }
        if details:
            body["details"] = {name: detail() for name, detail in details.items()}
        return JSONResponse(body, status_code=503 if failed else 200)

    @app.get("/metrics", include_in_schema=False, openapi_extra=access(Access.PUBLIC))
    async def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


async def _run_check(check: Check) -> str | None:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await check()
    except TimeoutError:
        return f"no answer within {CHECK_SECONDS:g} s"
    except Exception as error:
        _log.warning("check-failed", error=type(error).__name__)
        return type(error).__name__
    return None


class HttpMetrics:
    """Observes the seconds until an answer begins, by method, route template and status."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begin = time.monotonic()
        started = False

        def observe(status: int) -> None:
            labels = (_method(scope), problems.route_of(scope), str(status))
            HTTP_SECONDS.labels(*labels).observe(time.monotonic() - begin)

        async def observed(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                observe(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, observed)
        except Exception:
            if not started:
                observe(500)
            raise


def _method(scope: Scope) -> str:
    return scope["method"] if scope["method"] in _METHODS else "other"
