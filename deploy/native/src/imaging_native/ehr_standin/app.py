"""Builds the EHR stand-in: its pages, its subscription, and the SMART authorization server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.middleware.base import RequestResponseEndpoint

from imaging_common.telemetry.logs import configure_logs
from imaging_native.ehr_standin.cloud import Cloud
from imaging_native.ehr_standin.events import Subscription
from imaging_native.ehr_standin.pages import Ehr, build_pages
from imaging_native.ehr_standin.residents import sample_residents
from imaging_native.ehr_standin.settings import EhrSettings
from imaging_native.ehr_standin.smart import SmartServer, build_smart

HERE = Path(__file__).parent
DEADLINE_SECONDS = 20


def build_app(settings: EhrSettings) -> FastAPI:
    """One EHR; nothing is connected before it starts."""
    configure_logs("ehr-standin", settings.log_level)
    client = httpx.AsyncClient(timeout=DEADLINE_SECONDS)
    subscription = Subscription(settings)
    smart = SmartServer(settings)
    ehr = Ehr(settings, Cloud(settings, client), subscription, smart, sample_residents())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await subscription.start()
        try:
            yield
        finally:
            await subscription.stop()
            await client.aclose()

    app = FastAPI(title="ehr-standin", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    policy = (
        "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        f"frame-src {settings.portal_url}; "
        f"form-action 'self' {settings.portal_url}; base-uri 'none'; object-src 'none'; frame-ancestors 'none'"
    )

    @app.middleware("http")
    async def dress(request: Request, call_next: RequestResponseEndpoint) -> Response:
        if request.method == "POST" and request.headers.get("sec-fetch-site", "same-origin") not in (
            "same-origin",
            "none",
        ):
            return JSONResponse({"detail": "the request comes from another site"}, 403)
        answer = await call_next(request)
        answer.headers.setdefault("Content-Security-Policy", policy)
        answer.headers.setdefault("X-Content-Type-Options", "nosniff")
        answer.headers.setdefault("Referrer-Policy", "strict-origin")
        if not request.url.path.startswith("/static/"):
            answer.headers.setdefault("Cache-Control", "no-store")
        return answer

    @app.get("/health/ready")
    async def ready() -> JSONResponse:
        return JSONResponse({"status": "ready"})

    app.mount("/static", StaticFiles(directory=HERE / "static"))
    app.include_router(build_smart(smart, ehr.user_of))
    app.include_router(build_pages(ehr))
    return app
