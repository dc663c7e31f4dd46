"""A fifth hospital: onboarded by one form on the running region, its edge agent started with the file it got, an image
sent, seen in its study list; the operators' pages show it, ask its PACS, replay its dead letters."""

import asyncio
import io
import re
import stat
import sys
import zipfile
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from pydantic import SecretStr

from imaging_common.errors import PublishFailed
from imaging_common.events import EdgeHeartbeat
from imaging_common.messaging import KafkaPublisher
from imaging_common.settings import ServiceSettings
from imaging_common.tls import names_of_pem
from imaging_native import ct
from imaging_native.asking import until
from imaging_native.joining import fill_in, onboard
from imaging_native.process import LocalProcess, free_port, http_ready
from imaging_native.region import Region
from imaging_native.session import portal_client

PASSWORD = "east-Doctor-7"
PERSON = ct.Person("E-1", "Xu^Jing=许^静", "19850312", "F")


@asynccontextmanager
async def operator_of(region: Region) -> AsyncIterator[httpx.AsyncClient]:
    client = await portal_client(region.state, "operator.region")
    client.headers["Accept-Language"] = "en"
    async with aclosing(client):
        yield client


async def given_file(client: httpx.AsyncClient, hospital: str, folder: Path) -> Path:
    """Through the form to the unpacked file."""
    with zipfile.ZipFile(io.BytesIO(await onboard(client, hospital, "*@127.0.0.1"))) as archive:
        archive.extractall(folder)
    page = f"/portal/onboarding/{hospital}"
    again = await fill_in(client, "/portal/onboarding", f"{page}/file")
    assert again.status_code == 410, "the file is given once"
    return folder / f"edge-agent-{hospital}"


def environment(file: Path) -> dict[str, str]:
    lines = (line.partition("=") for line in file.read_text().splitlines())
    return {name: value.strip('"') for name, _, value in lines}


async def doctor_of(region: Region, hospital: str) -> httpx.AsyncClient:
    """A doctor of the new hospital, as the hospital's own people are made: at the identity provider."""
    name = f"doctor.{hospital}"
    async with region.keycloak.admin() as admin:
        user = {
            "username": name, "enabled": True, "firstName": "晴", "lastName": "东", "email": f"{name}@example.org",
            "attributes": {"hospital": [hospital]},
            "credentials": [{"type": "password", "value": PASSWORD, "temporary": False}],
        }  # fmt: skip
        made = await admin.post("/admin/realms/region/users", json=user)
        made.raise_for_status()
        role = (await admin.get("/admin/realms/region/roles/doctor")).json()
        path = f"{made.headers['location']}/role-mappings/realm"
        (await admin.post(path, json=[role])).raise_for_status()
    users = {**region.state["users"], name: {"password": PASSWORD}}
    return await portal_client({**region.state, "users": users}, name)


async def test_fifth_hospital_is_onboarded_and_its_first_image_is_seen(region: Region, tmp_path: Path) -> None:
    hospital = f"east-{uuid4().hex[:6]}"
    async with operator_of(region) as operator:
        folder = await given_file(operator, hospital, tmp_path)
        names = names_of_pem((folder / "tls" / "certificate.pem").read_text())
        assert (names.hospital, names.ae_titles) == (hospital, frozenset({hospital.upper()}))
        port, http_port = free_port(), free_port()
        (folder / "spool").mkdir()
        (folder / "tls" / "key.pem").chmod(stat.S_IRUSR)
        process = LocalProcess(
            f"edge-agent-{hospital}",
            [sys.executable, "-m", "edge_agent"],
            {
                **environment(folder / "edge-agent.env"),
                "EDGE_AGENT_DIMSE_HOST": "127.0.0.1",
                "EDGE_AGENT_DIMSE_PORT": str(port),
                "EDGE_AGENT_HTTP_PORT": str(http_port),
                "EDGE_AGENT_QUIET_SECONDS": "2",
                "EDGE_AGENT_HEARTBEAT_SECONDS": "2",
                "EDGE_AGENT_RECEIVERS": "1",
            },
            folder,
            http_ready(f"http://127.0.0.1:{http_port}/health/ready"),
            0,
        )
        await process.start()
        try:
            series = ct.write_series(tmp_path / "images", slices=1, seed=int(uuid4()) % 10**6, person=PERSON)
            await send(series.files[0], hospital, port)
            async with aclosing(await doctor_of(region, hospital)) as doctor:

                async def listed() -> bool:
                    return series.study_uid in (await doctor.get("/portal/studies")).text

                await until(listed, "the study in the list of its hospital")

            async def online() -> bool:
                page = (await operator.get("/portal/hospitals")).text
                return f'data-hospital="{hospital}" data-state="online"' in page

            await until(online, "the new agent online")
            await check_that_nothing_else_opens(environment(folder / "edge-agent.env"))
            page = (await operator.get(f"/portal/hospitals/{hospital}")).text
            assert "East Community Hospital" in page
        except BaseException:
            print((folder / f"edge-agent-{hospital}.log").read_text()[-3000:])
            raise
        finally:
            await process.stop()


async def check_that_nothing_else_opens(given: dict[str, str]) -> None:
    """The new agent's credentials are of no use on another hospital's topic."""
    settings = ServiceSettings(
        kafka_bootstrap=given["EDGE_AGENT_KAFKA_BOOTSTRAP"],
        kafka_username=given["EDGE_AGENT_KAFKA_USERNAME"],
        kafka_password=SecretStr(given["EDGE_AGENT_KAFKA_PASSWORD"]),
    )
    publisher = KafkaPublisher("test", settings)
    try:
        with pytest.raises(PublishFailed, match="Authorization"):
            await publisher.send("edge-events-community", b"{}", b"k", [])
    finally:
        await publisher.stop()


async def send(file: Path, hospital: str, port: int) -> None:
    """As a modality does: DCMTK's storescu."""
    sender = await asyncio.create_subprocess_exec(
        "storescu", "-aet", "CT1", "-aec", hospital.upper(), "127.0.0.1", str(port), str(file)
    )
    assert await asyncio.wait_for(sender.wait(), 30) == 0


async def test_operator_tests_a_pacs_from_the_page(region: Region) -> None:
    async with operator_of(region) as operator:
        for hospital in ("tcm", "tertiary"):
            page = f"/portal/hospitals/{hospital}"

            async def answered(page: str = page) -> bool:
                return 'data-result="ok"' in (await operator.get(page)).text

            await fill_in(operator, page, f"{page}/echo")
            await until(answered, f"the echo of {hospital}")


async def test_dead_letter_is_seen_and_goes_back(region: Region) -> None:
    kafka = region.state["kafka"]
    settings = ServiceSettings(
        kafka_bootstrap=kafka["bootstrap"],
        kafka_username="admin",
        kafka_password=SecretStr(kafka["users"]["admin"]),
    )
    topic = "edge-events-community-dlq-indexer"
    beat = EdgeHeartbeat(sequence=0, backlog_instances=0, backlog_bytes=0, spool_bytes=0, spool_limit_bytes=1,
                         agent_version="replayed", sent_at="2026-11-24T08:00:00Z")  # fmt: skip
    publisher = KafkaPublisher("test", settings)
    try:
        headers = [("ce_specversion", b"1.0"), ("ce_id", uuid4().hex.encode()), ("ce_type", b"EdgeHeartbeat"),
                   ("ce_source", b"/imaging/test"), ("ce_time", b"2026-11-24T08:00:00+00:00"),
                   ("dlq_reason", b"crashed"), ("dlq_error", b"ValueError"), ("dlq_attempts", b"3")]  # fmt: skip
        for _ in range(2):
            await publisher.send(topic, beat.model_dump_json().encode(), b"k", headers)
    finally:
        await publisher.stop()
    async with operator_of(region) as operator:
        page = f"/portal/dead-letters/{topic}"
        assert topic in (await operator.get("/portal/dead-letters")).text
        text = (await operator.get(page)).text
        assert "Handler crashed" in text
        place = re.findall(r'name="place" value="([^"]+)"', text)[0]
        assert "replayed" in (await operator.get(f"{page}/{place}")).text
        await fill_in(operator, page, f"{page}/replay", place=place)

        async def marked() -> bool:
            shown = (await operator.get(page)).text
            return f'data-offset="{place.partition("/")[2]}" data-replayed="yes"' in shown

        await until(marked, "the replayed record marked")
        await fill_in(operator, page, f"{page}/replay", all="yes")

        async def none_waits() -> bool:
            return "0 waiting" in (await operator.get(page)).text

        await until(none_waits, "no dead letter waiting")


async def test_storage_is_measured(region: Region) -> None:
    async with operator_of(region) as operator:

        async def measured() -> bool:
            return "Measured at" in (await operator.get("/portal/storage")).text

        await until(measured, "the store keeper's sums")
