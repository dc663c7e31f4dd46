"""The second port of a service: HTTPS with client certificates, whose names reach the application."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Request
from starlette.datastructures import Headers

from imaging_common import tls
from imaging_common.auth import Claims
from imaging_common.http.peers import TlsProtocol, edge_mismatch, peer_of
from imaging_common.http.serve import _context, _Server
from imaging_common.settings import ServiceSettings
from imaging_common.testing.waiting import until
from imaging_common.tls import BadTls, TlsFiles, client_context
from imaging_native.ports import free_port
from imaging_operate.certificates import RegionCa


@dataclass
class Service:
    """A running application and the authority whose certificates it takes."""

    ca: RegionCa
    settings: ServiceSettings
    received: list[int]

    @property
    def url(self) -> str:
        return f"https://localhost:{self.settings.tls_port}"

    def client(self, files: TlsFiles) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, verify=client_context(files), timeout=10)


@pytest.fixture
async def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    monkeypatch.setattr(tls, "LOOK_SECONDS", 0)
    ca = RegionCa(tmp_path)
    files: dict[str, Any] = ca.server("service").settings()
    settings = ServiceSettings(http_port=free_port(), tls_port=free_port(), **files)
    received: list[int] = []
    app = FastAPI()

    @app.get("/who")
    async def who(request: Request) -> dict[str, Any]:
        peer = peer_of(request.scope, settings)
        claims = Claims("edge-community", "community", frozenset({"edge-agent"}))
        reason, _ = edge_mismatch(request.scope, settings, claims)
        return {"hospital": peer.hospital if peer else None, "scheme": request.url.scheme, "reason": reason}

    @app.post("/upload")
    async def upload(request: Request) -> int:
        received.append(0)
        async for chunk in request.stream():
            received[-1] += len(chunk)
        return received[-1]

    config = uvicorn.Config(app, host="127.0.0.1", port=settings.http_port, http=TlsProtocol, log_config=None)
    server = _Server(config, _context(settings), settings.tls_port)
    running = asyncio.create_task(server._serve())
    await until(lambda: len(getattr(server, "servers", [])) == 2, 20, "both ports")
    yield Service(ca, settings, received)
    server.should_exit = True
    await running


async def test_application_knows_whom_the_certificate_names(service: Service) -> None:
    async with service.client(service.ca.edge("community", ["COMMUNITY"]).files) as client:
        answer = await client.get("/who", headers={"X-Calling-AE": "COMMUNITY"})
        assert answer.json() == {"hospital": "community", "scheme": "https", "reason": ""}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{service.settings.http_port}") as client:
        assert (await client.get("/who")).json() == {"hospital": None, "scheme": "http", "reason": "no-certificate"}


async def test_handshake_fails_without_a_certificate_of_the_ca(service: Service, tmp_path: Path) -> None:
    foreign = RegionCa(tmp_path / "foreign", "Foreign CA").edge("community", ["COMMUNITY"])
    files = TlsFiles(str(foreign.cert), str(foreign.key), str(service.ca.path))
    async with service.client(files) as client:
        with pytest.raises(httpx.TransportError):
            await client.get("/who")
    async with service.client(service.ca.edge("community", ["COMMUNITY"]).files) as client:
        assert (await client.get("/who")).status_code == 200


async def test_upload_ends_well_when_certificates_are_replaced_meanwhile(service: Service) -> None:
    replaced, files = asyncio.Event(), service.ca.edge("community", ["COMMUNITY"]).files

    async def body() -> AsyncIterator[bytes]:
        yield b"x" * 1_000_000
        await replaced.wait()
        yield b"y" * 1_000_000

    async with service.client(files) as client:
        sending = asyncio.create_task(client.post("/upload", content=body()))
        await until(lambda: bool(service.received and service.received[0]), 10, "the first half")
        service.ca.server("service")
        service.ca.edge("community", ["COMMUNITY"])
        async with service.client(files) as other:
            assert (await other.get("/who")).json()["hospital"] == "community"
        replaced.set()
        assert (await sending).json() == 2_000_000


async def test_certificates_of_a_new_authority_are_taken_and_those_of_the_old_one_no_more(
    service: Service, tmp_path: Path
) -> None:
    old = service.ca.edge("community", ["COMMUNITY"], name="old").files
    old_ca = tmp_path / "old-ca.pem"
    old_ca.write_bytes(service.ca.path.read_bytes())
    renewed = RegionCa(tmp_path, "Imaging region CA 2")
    renewed.server("service")
    async with service.client(renewed.edge("community", ["COMMUNITY"]).files) as client:
        assert (await client.get("/who")).json()["hospital"] == "community"
    async with service.client(TlsFiles(old.cert, old.key, str(renewed.path))) as client:
        with pytest.raises(httpx.TransportError):
            await client.get("/who")


def test_port_without_certificate_does_not_start() -> None:
    with pytest.raises(BadTls):
        _context(ServiceSettings(tls_port=1))


def test_header_of_an_unknown_proxy_counts_for_nothing() -> None:
    scope = {"type": "http", "headers": Headers({"client-cert": ":AAAA:"}).raw}
    assert peer_of(scope, ServiceSettings()) is None
    assert peer_of(scope, ServiceSettings(client_cert_header="Client-Cert")) is None
