"""Runs a service's application under uvicorn: plain inside the centre, and by mutual TLS for who comes from outside."""

import asyncio
import socket
import ssl
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from imaging_common.http.peers import TlsProtocol
from imaging_common.settings import ServiceSettings
from imaging_common.tls import BadTls, TlsFiles, server_context

STOP_SECONDS = 20


class _Server(uvicorn.Server):
    """Has a second listener that speaks TLS and asks for client certificates, in the same process and loop."""

    def __init__(self, config: uvicorn.Config, tls: ssl.SSLContext | None, port: int) -> None:
        super().__init__(config)
        self._tls = tls
        self._tls_port = port

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin both."""
        await super().startup(sockets)
        if self._tls is None or self.should_exit:
            return
        server = await asyncio.get_running_loop().create_server(
            lambda: TlsProtocol(self.config, self.server_state, self.lifespan.state),
            self.config.host,
            self._tls_port,
            ssl=self._tls,
            backlog=self.config.backlog,
            ssl_handshake_timeout=10,
        )
        self.servers.append(server)


def serve(build_app: Callable[[], FastAPI], settings: ServiceSettings) -> None:
    """Serve until SIGINT or SIGTERM, then end open requests within twenty seconds.

    No access log: a path may hold a UID and a query a patient's name; traces and metrics say what happened.

    Raises
    ------
    BadTls
        `tls_port` is set, and its files are missing or do not fit together.
    """
    config = uvicorn.Config(
        build_app(),
        host=settings.http_host,
        port=settings.http_port,
        http=TlsProtocol,
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=STOP_SECONDS,
        timeout_keep_alive=65,
        server_header=False,
    )
    _Server(config, _context(settings), settings.tls_port).run()


def _context(settings: ServiceSettings) -> ssl.SSLContext | None:
    if not settings.tls_port:
        return None
    files = TlsFiles.of(settings.tls_cert, settings.tls_key, settings.tls_ca)
    if files is None:
        raise BadTls("tls_port needs tls_cert, tls_key and tls_ca")
    return server_context(files)
