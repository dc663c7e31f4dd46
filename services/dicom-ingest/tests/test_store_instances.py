"""STOW-RS into staging: what is stored, what is refused and why, and in which order things become durable."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from dicom_ingest.api import build_router
from dicom_ingest.settings import Settings
from dicom_ingest.usecases import StoreInstances
from imaging_common.audit import AuditTrail
from imaging_common.auth import Claims, InvalidToken
from imaging_common.errors import PublishFailed
from imaging_common.events import InstancesReceived
from imaging_common.http import create_app
from imaging_common.messaging import FakePublisher
from imaging_common.objects.manifest import read_manifest
from imaging_common.objects.model import STAGING_BUCKET
from imaging_common.objects.store import FakeObjectStore
from imaging_native import ct

TYPE = 'multipart/related; type="application/dicom"; boundary=b'
TOKENS = {
    "edge": Claims("edge-community", "community", frozenset({"edge-agent"})),
    "doctor": Claims("doctor.community", "community", frozenset({"doctor"})),
}


class FakeVerifier:
    async def verify(self, token: str) -> Claims:
        if token not in TOKENS:
            raise InvalidToken("the token's signature does not verify")
        return TOKENS[token]


@pytest.fixture
def store() -> FakeObjectStore:
    return FakeObjectStore()


@pytest.fixture
def publisher() -> FakePublisher:
    return FakePublisher()


@pytest.fixture
async def client(store: FakeObjectStore, publisher: FakePublisher) -> AsyncIterator[httpx.AsyncClient]:
    settings = Settings()

    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield

    app = create_app("dicom-ingest", settings, lifespan=lifespan, checks={})  # type: ignore[arg-type]
    use_case = StoreInstances(store, publisher, AuditTrail("dicom-ingest", publisher))
    app.include_router(build_router(settings, use_case, FakeVerifier()))  # type: ignore[arg-type]
    transport = httpx.ASGITransport(app)
    headers = {"Authorization": "Bearer edge", "Content-Type": TYPE}
    async with httpx.AsyncClient(transport=transport, base_url="http://ingest", headers=headers) as client:
        yield client


@pytest.fixture(scope="session")
def series(tmp_path_factory: pytest.TempPathFactory) -> ct.Series:
    return ct.write_series(tmp_path_factory.mktemp("stow"), slices=3, seed=41)


def body(*parts: bytes, end: bool = True) -> bytes:
    head = b"--b\r\nContent-Type: application/dicom\r\n\r\n"
    return b"".join(head + part + b"\r\n" for part in parts) + (b"--b--\r\n" if end else b"")


def files(series: ct.Series) -> list[bytes]:
    return [Path(path).read_bytes() for path in series.files]


def received(publisher: FakePublisher) -> list[InstancesReceived]:
    return [event for _, event, _ in publisher.published if isinstance(event, InstancesReceived)]


async def test_batch_is_staged_and_announced_when_all_instances_are_good(
    client: httpx.AsyncClient, store: FakeObjectStore, publisher: FakePublisher, series: ct.Series
) -> None:
    answer = await client.post(f"/studies/{series.study_uid}", content=body(*files(series)))
    assert answer.status_code == 200
    assert len(answer.json()["00081199"]["Value"]) == 3
    (event,) = received(publisher)
    assert (event.hospital, event.study_uid, event.instance_count) == ("community", series.study_uid, 3)
    manifest = await read_manifest(store, STAGING_BUCKET, event.manifest_key)
    data = await store.get(STAGING_BUCKET, manifest.data_key)
    assert [data[i.offset : i.offset + i.length] for i in manifest.instances] == files(series)


async def test_good_instances_are_stored_when_one_is_broken(
    client: httpx.AsyncClient, store: FakeObjectStore, publisher: FakePublisher, series: ct.Series
) -> None:
    one, two, three = files(series)
    answer = await client.post("/studies", content=body(one, two[:-100], three))
    assert answer.status_code == 202
    assert answer.json()["00081198"]["Value"][0]["00081197"]["Value"] == [0xC000]
    (event,) = received(publisher)
    manifest = await read_manifest(store, STAGING_BUCKET, event.manifest_key)
    data = await store.get(STAGING_BUCKET, manifest.data_key)
    assert data == one + three


async def test_nothing_is_stored_when_the_study_is_another(
    client: httpx.AsyncClient, store: FakeObjectStore, series: ct.Series
) -> None:
    answer = await client.post("/studies/1.2.3", content=body(*files(series)))
    assert answer.status_code == 409
    assert not store.objects


@pytest.mark.parametrize(
    ("token", "status"), [("", 401), ("forged", 401), ("doctor", 403)], ids=["none", "forged", "no-edge"]
)
async def test_store_is_refused_without_an_edge_agents_token(
    client: httpx.AsyncClient, store: FakeObjectStore, series: ct.Series, token: str, status: int
) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    answer = await client.post("/studies", content=body(*files(series)), headers=headers)
    assert answer.status_code == status
    assert not store.objects


@pytest.mark.parametrize(
    ("content_type", "content", "status"),
    [
        ("application/json", b"{}", 415),
        ('multipart/related; type="application/dicom"', b"", 400),
        (TYPE, b"nonsense", 400),
        (TYPE, body(b"cut", end=False), 400),
    ],
    ids=["json", "no-boundary", "no-multipart", "no-end"],
)
async def test_request_is_refused_when_it_is_no_store_request(
    client: httpx.AsyncClient, content_type: str, content: bytes, status: int
) -> None:
    answer = await client.post("/studies", content=content, headers={"Content-Type": content_type})
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


async def test_sender_is_told_to_come_again_when_kafka_is_away(
    client: httpx.AsyncClient, publisher: FakePublisher, series: ct.Series
) -> None:
    publisher.fail_with = PublishFailed("no acknowledgement")
    answer = await client.post("/studies", content=body(*files(series)))
    assert answer.status_code == 503


async def test_same_batch_again_makes_no_second_object(
    client: httpx.AsyncClient, store: FakeObjectStore, series: ct.Series
) -> None:
    await client.post("/studies", content=body(*files(series)))
    first = set(store.objects)
    await client.post("/studies", content=body(*files(series)))
    assert set(store.objects) == first
