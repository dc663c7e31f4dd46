"""Runs a service's application under uvicorn."""

from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from imaging_common.settings import ServiceSettings

STOP_SECONDS = 20


def serve(build_app: Callable[[], FastAPI], settings: ServiceSettings) -> None:
    """Serve until SIGINT or SIGTERM, then end open requests within twenty seconds.

    No access log: a path may hold a UID and a query a patient's name; traces and metrics say what happened.
    """
    uvicorn.run(
        build_app(),
        host=settings.http_host,
        port=settings.http_port,
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=STOP_SECONDS,
        timeout_keep_alive=65,
        server_header=False,
    )
