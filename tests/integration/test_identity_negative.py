"""Nobody gets in where they do not belong: stolen, foreign, expired and forged credentials against the real servers."""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import html
import json
import re
import secrets
import shutil
import ssl
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import GroupAuthorizationFailedError, TopicAuthorizationFailedError
from confluent_kafka import Consumer, KafkaError, TopicPartition
from joserfc.jwk import KeySet

from imaging_common.testing.waiting import until
from imaging_common.tls import TlsFiles
from imaging_native import ct
from imaging_native.distributed import until_listed
from imaging_native.edges import edge_certificate, edge_client, edge_token, store_request
from imaging_native.region import Region
from imaging_native.session import portal_client
from imaging_operate.certificates import RegionCa

STORED = "Received Store Response (Success)"


def credentials(region: Region, principal: str) -> dict[str, Any]:
    return {
        "bootstrap_servers": region.kafka.edge_bootstrap,
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": principal,
        "sasl_plain_password": region.kafka.passwords[principal],
        "request_timeout_ms": 10_000,
    }


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> ct.Series:
    return ct.write_series(tmp_path_factory.mktemp("identity"), slices=2, seed=secrets.randbelow(10**9))


# Kafka


@pytest.mark.parametrize("topic", ["edge-events-community", "edge-commands-community", "instances-stored"])
async def test_hospital_cannot_write_where_another_or_the_centre_writes(region: Region, topic: str) -> None:
    producer = AIOKafkaProducer(**credentials(region, "edge-secondary"), acks="all")
    await producer.start()
    try:
        with pytest.raises(TopicAuthorizationFailedError):
            await producer.send_and_wait(topic, b"{}", key=b"1.2.3")
    finally:
        await producer.stop()


@pytest.mark.parametrize("topic", ["edge-events-community", "edge-commands-community", "study-changed"])
async def test_hospital_cannot_read_what_is_another_hospitals(region: Region, topic: str) -> None:
    consumer = Consumer(
        {
            "bootstrap.servers": region.kafka.edge_bootstrap,
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": "edge-secondary",
            "sasl.password": region.kafka.passwords["edge-secondary"],
            "group.id": "edge-agent-secondary",
            "auto.offset.reset": "earliest",
        }
    )
    consumer.assign([TopicPartition(topic, 0, 0)])
    try:
        read = await asyncio.to_thread(consumer.poll, 3)
        assert read is None or read.error() is not None
        known = await asyncio.to_thread(consumer.list_topics, topic, 30)
        assert known.topics[topic].error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED
    finally:
        await asyncio.to_thread(consumer.close)


async def test_hospital_cannot_take_another_hospitals_place_as_a_reader(region: Region) -> None:
    consumer = AIOKafkaConsumer(
        "edge-commands-secondary", **credentials(region, "edge-secondary"), group_id="edge-agent-community"
    )
    try:
        with pytest.raises(GroupAuthorizationFailedError):
            await consumer.start()
    finally:
        await consumer.stop()


# Certificates over HTTP


async def attempt(region: Region, series: ct.Series, hospital: str, **lies: Any) -> httpx.Response:
    body, headers = store_request(*series.files)
    async with await edge_client(region.state, hospital, **lies) as client:
        return await client.post(f"/studies/{series.study_uid}", content=body, headers=headers)


async def test_edge_agent_stores_when_token_certificate_and_ae_title_agree(region: Region, series: ct.Series) -> None:
    assert (await attempt(region, series, "community")).status_code == 200


async def test_own_certificate_with_another_hospitals_ae_title_is_refused_and_audited(
    region: Region, series: ct.Series
) -> None:
    answer = await attempt(region, series, "secondary", ae_title="COMMUNITY")
    assert (answer.status_code, answer.json()["reason"]) == (403, "ae-title-not-in-certificate")
    records = region.client("root")["audit"]["records"]

    async def kept() -> bool:
        async for record in records.find():
            if "ae-title-not-in-certificate" in str(record) and "edge-secondary" in str(record):
                return True
        return False

    await until(kept, 60, "the refusal in the audit record")


@pytest.mark.parametrize("door", ["dicom-ingest", "gateway"])
async def test_own_certificate_with_another_hospitals_token_is_refused(
    region: Region, series: ct.Series, door: str
) -> None:
    stolen = await edge_token(region.state, "community")
    if door == "dicom-ingest":
        answer = await attempt(region, series, "secondary", token=stolen)
        assert answer.json()["reason"] == "certificate-of-another-hospital"
    else:
        async with await edge_client(region.state, "secondary", door=door, token=stolen) as client:
            answer = await client.get("/dicomweb/studies")
    assert answer.status_code == 403


@pytest.mark.parametrize("door", ["ingest", "portal"])
async def test_stolen_token_opens_nothing_without_a_certificate(region: Region, series: ct.Series, door: str) -> None:
    token = await edge_token(region.state, "community")
    headers = {"Authorization": f"Bearer {token}", "X-Calling-AE": "COMMUNITY", "Client-Cert": ":AAAA:"}
    async with httpx.AsyncClient(base_url=region.state[door], headers=headers, timeout=30) as client:
        if door == "ingest":
            body, kind = store_request(*series.files)
            answer = await client.post("/studies", content=body, headers=kind)
        else:
            answer = await client.get("/dicomweb/studies")
    assert answer.status_code == 403


@pytest.mark.parametrize("kind", ["expired", "foreign-ca", "server-of-the-centre"])
@pytest.mark.parametrize("door", ["dicom-ingest", "gateway"])
async def test_certificate_that_does_not_hold_ends_the_handshake(
    region: Region, tmp_path: Path, kind: str, door: str
) -> None:
    ours = region.state["pki"]["ca"]
    if kind == "foreign-ca":
        issued = RegionCa(tmp_path, "Foreign CA").edge("community", ["COMMUNITY"])
    elif kind == "expired":
        until_then = datetime.now(UTC) - timedelta(minutes=1)
        issued = region.ca.edge("community", ["COMMUNITY"], name="expired", until=until_then)
    else:
        issued = region.ca.server("not-a-client")
    certificate = TlsFiles(str(issued.cert), str(issued.key), ours)
    async with await edge_client(region.state, "community", door=door, certificate=certificate) as client:
        with pytest.raises(httpx.TransportError):
            await client.get("/health/live")


async def test_handshake_ends_without_a_certificate(region: Region) -> None:
    context = ssl.create_default_context(cafile=region.state["pki"]["ca"])
    async with httpx.AsyncClient(verify=context, timeout=15) as client:
        with pytest.raises(httpx.TransportError):
            await client.get(f"{region.state['doors']['dicom-ingest']}/health/live")


# Certificates over DIMSE


async def dcmtk(region: Region, tool: str, files: TlsFiles, caller: str, port: str, *arguments: str | Path) -> str:
    process = await asyncio.create_subprocess_exec(
        *(shutil.which(tool) or tool, "-v", "+tls", files.key, files.cert, "+cf", region.state["pki"]["ca"]),
        *("-aet", caller, "-aec", "COMMUNITY", "127.0.0.1", str(region.state["pki"]["modality"][port])),
        *map(str, arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    return output.decode(errors="replace")


async def test_modality_stores_and_asks_over_tls(region: Region, tmp_path: Path) -> None:
    sent = ct.write_series(tmp_path, slices=2, seed=secrets.randbelow(10**9))
    modality = region.modality.files
    output = await dcmtk(region, "storescu", modality, "CT1", "dimse_tls_port", *sent.files)
    assert output.count(STORED) == len(sent.files), output
    async with contextlib.aclosing(await portal_client(region.state, "doctor.community")) as doctor:
        await until_listed(doctor, sent.study_uid, len(sent.files))
    keys = ("-S", "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={sent.study_uid}")
    assert sent.study_uid in await dcmtk(region, "findscu", modality, "CT1", "services_tls_port", *keys)
    refused = await dcmtk(region, "findscu", modality, "WORKSTATION", "services_tls_port", *keys)
    assert sent.study_uid not in refused
    assert "Association Reject" in refused


@pytest.mark.parametrize(("whose", "caller"), [("modality", "SECONDARY"), ("secondary", "SECONDARY")])
async def test_certificate_with_another_ae_title_or_hospital_is_refused_over_dimse(
    region: Region, series: ct.Series, whose: str, caller: str
) -> None:
    files = region.modality.files if whose == "modality" else edge_certificate(region.state, whose)
    output = await dcmtk(region, "storescu", files, caller, "dimse_tls_port", series.files[0])
    assert STORED not in output
    assert "Calling AE Title Not Recognized" in output


async def test_foreign_certificate_is_refused_over_dimse(region: Region, series: ct.Series, tmp_path: Path) -> None:
    files = RegionCa(tmp_path, "Foreign CA").edge("community", ["CT1"]).files
    assert STORED not in await dcmtk(region, "storescu", files, "CT1", "dimse_tls_port", series.files[0])


# Tokens


def segment(document: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()


@pytest.fixture(scope="module")
async def forged(region: Region) -> dict[str, str]:
    """Tokens that are none: no algorithm, HMAC with the published key, cut signature, a real one for somebody else."""
    token = await edge_token(region.state, "community")
    header, payload, signature = token.split(".")
    known = json.loads(base64.urlsafe_b64decode(header + "=="))
    async with httpx.AsyncClient(base_url=region.state["issuer"], timeout=30) as client:
        keys = KeySet.import_key_set((await client.get("/protocol/openid-connect/certs")).json())
        (key,) = [one for one in keys.keys if one.kid == known["kid"]]
        public = key.as_pem(private=False)
        foreign = await client.post(
            "/protocol/openid-connect/token",
            data={
                "grant_type": "password",
                "client_id": "admin-cli",
                "username": "doctor.community",
                "password": region.state["users"]["doctor.community"]["password"],
            },
        )
    foreign.raise_for_status()
    signed = f"{segment({**known, 'alg': 'HS256'})}.{payload}"
    mac = base64.urlsafe_b64encode(hmac.new(public, signed.encode(), hashlib.sha256).digest()).rstrip(b"=").decode()
    return {
        "alg-none": f"{segment({'alg': 'none', 'typ': 'JWT'})}.{payload}.",
        "alg-none-kept-signature": f"{segment({**known, 'alg': 'none'})}.{payload}.{signature}",
        "hs256-with-the-public-key": f"{signed}.{mac}",
        "other-payload": f"{header}.{segment({'roles': ['auditor', 'edge-agent', 'doctor']})}.{signature}",
        "foreign-audience": foreign.json()["access_token"],
        "rubbish": "a.b.c",
    }


@pytest.mark.parametrize(
    "kind",
    [
        "alg-none",
        "alg-none-kept-signature",
        "hs256-with-the-public-key",
        "other-payload",
        "foreign-audience",
        "rubbish",
    ],
)
async def test_forged_token_is_refused_by_every_service_itself(
    region: Region, series: ct.Series, forged: dict[str, str], kind: str
) -> None:
    body, headers = store_request(*series.files)
    async with await edge_client(region.state, "community", token=forged[kind]) as edge:
        assert (await edge.post("/studies", content=body, headers=headers)).status_code == 401
        assert (await edge.post("/reports", content=b"MSH", headers=headers)).status_code == 401
    async with await edge_client(region.state, "community", door="gateway", token=forged[kind]) as edge:
        assert (await edge.get("/dicomweb/studies")).status_code == 401
    bearer = {"Authorization": f"Bearer {forged[kind]}"}
    async with httpx.AsyncClient(headers=bearer, timeout=30) as client:
        assert (await client.get(f"{region.state['consult']}/consults?box=sent")).status_code == 401
        assert (await client.get(f"{region.state['audit']}/records")).status_code == 401
        assert (await client.post(f"{region.portal}/ehr/records/R1/opened")).status_code == 401


# Sessions and certificates that change


@pytest.fixture
async def admin(region: Region) -> AsyncIterator[httpx.AsyncClient]:
    async with region.keycloak.admin() as client:
        yield client


async def test_provider_ends_a_session_by_back_channel_logout(region: Region, admin: httpx.AsyncClient) -> None:
    async with (
        contextlib.aclosing(await portal_client(region.state, "doctor.tcm")) as ended,
        contextlib.aclosing(await portal_client(region.state, "doctor.tertiary")) as other,
    ):
        assert (await ended.get("/dicomweb/studies?limit=1")).status_code in (200, 204)
        (user,) = (await admin.get("/admin/realms/region/users?username=doctor.tcm&exact=true")).json()
        # Session by session: ending all of a user at once, Keycloak 26.4 tells a client of the first one only; the
        # others end at their next refresh.
        for session in (await admin.get(f"/admin/realms/region/users/{user['id']}/sessions")).json():
            (await admin.delete(f"/admin/realms/region/sessions/{session['id']}")).raise_for_status()

        async def out() -> bool:
            return (await ended.get("/dicomweb/studies?limit=1")).status_code == 401

        await until(out, 20, "the end of the session")
        assert (await other.get("/dicomweb/studies?limit=1")).status_code in (200, 204)


@pytest.mark.parametrize("token", ["", "a.b.c", "access-token"])
async def test_nobody_else_ends_sessions(region: Region, token: str) -> None:
    form = {"logout_token": await edge_token(region.state, "community") if token == "access-token" else token}
    async with httpx.AsyncClient(timeout=30) as client:
        assert (await client.post(f"{region.portal}/auth/backchannel-logout", data=form)).status_code == 400


async def test_nothing_is_lost_when_certificates_change_in_mid_upload(region: Region, tmp_path: Path) -> None:
    sent = ct.write_series(tmp_path, slices=60, seed=secrets.randbelow(10**9))
    port = region.state["edges"]["community"]["dimse_port"]
    process = await asyncio.create_subprocess_exec(
        *(shutil.which("dcmsend") or "dcmsend", "-aec", "COMMUNITY", "127.0.0.1", str(port), *map(str, sent.files)),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    status = region.state["edges"]["community"]["http"]
    async with httpx.AsyncClient(base_url=status, timeout=10) as agent:
        for share in (1, 20, 40):

            async def received(least: int = share) -> bool:
                rows = (await agent.get("/journal", params={"study": sent.study_uid})).json()
                return len(rows) >= least

            await until(received, 60, f"{share} instances at the edge agent")
            region.ca.edge("community", ["COMMUNITY"])
            region.ca.server("dicom-ingest")
    assert await asyncio.wait_for(process.wait(), 120) == 0
    async with contextlib.aclosing(await portal_client(region.state, "doctor.community")) as doctor:
        await until_listed(doctor, sent.study_uid, len(sent.files))


# A second factor


def one_time_code(secret: str, period: float = 30) -> str:
    """TOTP with six digits (RFC 6238)."""
    mac = hmac.new(secret.encode(), int(time.time() // period).to_bytes(8, "big"), "sha1").digest()
    at = mac[-1] & 15
    return f"{(int.from_bytes(mac[at : at + 4], 'big') & 0x7FFFFFFF) % 10**6:06d}"


async def test_second_factor_is_asked_of_who_has_set_one_up(region: Region, admin: httpx.AsyncClient) -> None:
    name, password, secret = f"mfa{secrets.token_hex(4)}", secrets.token_urlsafe(12), secrets.token_hex(10)
    otp = {"subType": "totp", "digits": 6, "counter": 0, "period": 30, "algorithm": "HmacSHA1"}
    user = {
        "username": name,
        "enabled": True,
        "email": f"{name}@region.example",
        "firstName": "一",
        "lastName": "丁",
        "attributes": {"hospital": ["tcm"]},
        "credentials": [
            {"type": "password", "value": password, "temporary": False},
            {"type": "otp", "secretData": json.dumps({"value": secret}), "credentialData": json.dumps(otp)},
        ],
    }
    users = "/admin/realms/region/users"
    (await admin.post(users, json=user)).raise_for_status()
    (made,) = (await admin.get(users, params={"username": name, "exact": "true"})).json()
    role = (await admin.get("/admin/realms/region/roles/doctor")).json()
    (await admin.post(f"{users}/{made['id']}/role-mappings/realm", json=[role])).raise_for_status()
    try:
        async with httpx.AsyncClient(base_url=region.portal, timeout=30, follow_redirects=True) as client:

            async def on_loopback(_: httpx.Response) -> None:
                for cookie in client.cookies.jar:
                    cookie.secure = False

            client.event_hooks["response"].append(on_loopback)

            async def fill(page: httpx.Response, **data: str) -> httpx.Response:
                action = re.search(r'<form[^>]*action="([^"]+)"', page.text)
                assert action is not None
                return await client.post(html.unescape(action[1]), data=data)

            asked = await fill(await client.get("/auth/login"), username=name, password=password)
            assert 'name="otp"' in asked.text, "the password alone is not enough"
            wrong = await fill(asked, otp="000000")
            assert 'name="otp"' in wrong.text
            landed = await fill(wrong, otp=one_time_code(secret))
            if 'name="otp"' in landed.text:  # seen once: right after a wrong code the right one is refused
                landed = await fill(landed, otp=one_time_code(secret))
            feedback = re.findall(r'id="input-error[^>]*>([^<]*)<', landed.text)
            assert str(landed.url).startswith(region.portal), feedback
            assert landed.status_code == 200
    finally:
        await admin.delete(f"{users}/{made['id']}")
