"""TLS at the agent: DIMSE callers show certificates, the centre is shown the agent's, and both may change at work."""

import asyncio
import contextlib
import importlib.util
import socket
import threading
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cryptography import x509

from imaging_common.dicom.handshake import secure
from imaging_common.tls import server_context
from imaging_operate.certificates import Certificate, RegionCa


def _neighbour(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


agents = _neighbour("test_agent")
STORED = "Received Store Response (Success)"
"""`storescu` says so."""


@pytest.fixture(scope="session")
def ca(tmp_path_factory: pytest.TempPathFactory) -> RegionCa:
    return RegionCa(tmp_path_factory.mktemp("pki"))


@contextlib.asynccontextmanager
async def running(root: Path, ingest_url: str, certificate: Certificate, **settings: Any) -> AsyncIterator[Any]:
    agent = agents.Agent(root, ingest_url, **certificate.settings(), **settings)
    try:
        await agent.start()
        yield agent
    finally:
        await agent.stop()


@pytest.fixture(scope="module")
async def secured(ca: RegionCa, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Any]:
    """An agent with a TLS port beside the plain one; nothing is sent on to the centre."""
    port = agents.free_port()
    edge = ca.edge("community", ["COMMUNITY"], name="edge-dimse")
    root = tmp_path_factory.mktemp("secured")
    async with running(root, "http://127.0.0.1:9", edge, dimse_tls_port=port, allowed_callers="*@127.0.0.1") as agent:
        agent.tls_port = port
        yield agent


async def storescu(agent: Any, peer: Certificate, caller: str, *files: Path, trusted: Path | None = None) -> str:
    output: str = await agents.run(
        *("storescu", "-v", "+tls", peer.key, peer.cert, "+cf", trusted or peer.ca, "-aet", caller),
        *("-aec", "COMMUNITY", "127.0.0.1", str(agent.tls_port), *files),
    )
    return output


async def test_modality_stores_over_tls_when_its_certificate_names_hospital_and_ae_title(
    secured: Any, ca: RegionCa, tmp_path: Path
) -> None:
    study, files = agents.write_series(tmp_path, 3)
    modality = ca.edge("community", ["CT1", "CT 2"], name="modality", hosts=())
    for caller, file in zip(("CT1", "CT 2", "CT1"), files, strict=True):
        assert STORED in await storescu(secured, modality, caller, file)
    assert len(await secured.journal(study)) == 3


@pytest.mark.parametrize("case", ["other-title", "other-hospital", "foreign-ca", "expired", "plain"])
async def test_caller_over_tls_is_refused_when_its_certificate_does_not_name_it(
    secured: Any, ca: RegionCa, tmp_path: Path, case: str
) -> None:
    study, files = agents.write_series(tmp_path / "series", 1)
    issuer = RegionCa(tmp_path / "foreign", "Foreign CA") if case == "foreign-ca" else ca
    hospital = "secondary" if case == "other-hospital" else "community"
    until = datetime.now(UTC) - timedelta(minutes=1) if case == "expired" else None
    modality = issuer.edge(hospital, ["CT1"], name=f"modality-{case}", until=until)
    caller = "SECONDARY" if case == "other-title" else "CT1"
    if case == "plain":
        output = await agents.run("storescu", "-v", "-aet", "CT1", "127.0.0.1", str(secured.tls_port), *files)
    else:
        output = await storescu(secured, modality, caller, *files, trusted=ca.path)
    assert STORED not in output
    assert await secured.journal(study) == {}


async def test_silent_peer_holds_nobody_up(secured: Any, ca: RegionCa, tmp_path: Path) -> None:
    silent = [socket.create_connection(("127.0.0.1", secured.tls_port)) for _ in range(8)]
    try:
        _, files = agents.write_series(tmp_path, 1)
        modality = ca.edge("community", ["CT1"], name="modality-silent")
        began = time.monotonic()
        assert STORED in await storescu(secured, modality, "CT1", *files)
        assert time.monotonic() - began < 8
    finally:
        for connection in silent:
            connection.close()


def test_handshake_has_a_deadline_over_all_of_it(ca: RegionCa) -> None:
    here, there = socket.socketpair()
    with there, pytest.raises(TimeoutError):
        secure(here, server_context(ca.edge("community", [], name="slow").files), 0.1)


class SecureDoor:
    """Puts TLS before the stand-in of the centre, and notes which certificates it was shown."""

    def __init__(self, centre: Any, certificate: Certificate) -> None:
        self.serials: list[int] = []
        self._lock = threading.Lock()
        door, server = self, centre._server
        server.socket = server_context(certificate.files).wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )

        class Handler(server.RequestHandlerClass):  # type: ignore[misc, name-defined]
            def setup(self) -> None:
                self.request.settimeout(20)
                self.request.do_handshake()
                super().setup()
                shown = x509.load_der_x509_certificate(self.request.getpeercert(binary_form=True))
                with door._lock:
                    door.serials.append(shown.serial_number)

        server.RequestHandlerClass = Handler
        self.url = f"https://127.0.0.1:{server.server_port}"


def serial(certificate: Certificate) -> int:
    return x509.load_pem_x509_certificate(certificate.cert.read_bytes()).serial_number


async def arrived(centre: Any, count: int, log: Path) -> None:
    async def enough() -> bool:
        return bool(centre.count >= count)

    await agents.until(enough, log)


async def test_nothing_is_lost_when_certificates_of_both_sides_are_replaced_in_mid_upload(
    centre: Any, ca: RegionCa, tmp_path: Path
) -> None:
    server = ca.server("ingest-rotating")
    door = SecureDoor(centre, server)
    edge = ca.edge("community", ["COMMUNITY"], name="edge-rotating")
    serials = [serial(edge)]
    sent: dict[str, str] = {}
    settings = {"first_batch_instances": 1, "batch_bytes": 40_000, "uploads": 3}
    async with running(tmp_path, door.url, edge, **settings) as agent:
        for turn in range(4):
            study, files = agents.write_series(tmp_path / str(turn), 40 + turn)
            sending = asyncio.create_task(agent.dcmsend(*files))
            await arrived(centre, len(sent) + 1, agent.log)
            serials.append(serial(ca.edge("community", ["COMMUNITY"], name="edge-rotating")))
            ca.server("ingest-rotating")
            assert (await sending).count(agents.ACKNOWLEDGED) == len(files)
            sent |= {uid: row["sha256"] for uid, row in (await agent.journal(study)).items()}
            assert len(sent) == 40 * (turn + 1) + sum(range(turn + 1))
            await arrived(centre, len(sent), agent.log)
    assert centre.stored == {uid: {digest} for uid, digest in sent.items()}
    assert len(set(door.serials)) > 1, "the new certificates were not used"
    assert set(door.serials) <= set(serials)
    assert {headers["X-Calling-AE"] for headers in centre.headers} == {"COMMUNITY"}


async def test_agent_sends_nothing_to_a_server_that_is_not_of_the_regions_ca(
    centre: Any, ca: RegionCa, tmp_path: Path
) -> None:
    foreign = RegionCa(tmp_path / "foreign", "Foreign CA").server("ingest")
    door = SecureDoor(centre, Certificate(foreign.cert, foreign.key, ca.path))
    study, files = agents.write_series(tmp_path / "series", 2)
    async with running(tmp_path, door.url, ca.edge("community", ["COMMUNITY"], name="edge-careful")) as agent:
        assert (await agent.dcmsend(*files)).count(agents.ACKNOWLEDGED) == 2

        async def tried() -> bool:
            return "ConnectError" in agent.log.read_text()

        await agents.until(tried, agent.log)
        assert {row["state"] for row in (await agent.journal(study)).values()} == {"received"}
    assert centre.count == 0
