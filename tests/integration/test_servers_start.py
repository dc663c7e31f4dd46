"""The real servers come up with the region's topics, buckets, users and rights, and come back when they were killed."""

import asyncio
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from joserfc import jwt
from joserfc.jwk import KeySet
from minio import Minio
from minio.error import S3Error
from pymongo.errors import OperationFailure

from imaging_native.region import HOSPITALS, ORGANISATION, Region
from imaging_operate.topology import BUCKETS, LOCKED_BUCKET, kafka_plan


def admin(region: Region, user: str, password: str | None = None) -> AdminClient:
    return AdminClient(
        {
            "bootstrap.servers": region.kafka.bootstrap,
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": user,
            "sasl.password": password or region.kafka.passwords[user],
            "log_level": 0,
        }
    )


def minio(region: Region, user: str) -> Minio:
    access, secret = region.minio.credentials[user]
    return Minio(endpoint=region.minio.endpoint, access_key=access, secret_key=secret, secure=False)


async def visible(region: Region, user: str) -> set[str]:
    metadata = await asyncio.to_thread(admin(region, user).list_topics, timeout=20)
    return set(metadata.topics)


async def test_kafka_has_every_topic_of_the_contracts(servers: Region) -> None:
    wanted, _ = kafka_plan(list(HOSPITALS), [ORGANISATION])
    assert {topic.name for topic in wanted} <= await visible(servers, "admin")


async def test_principal_sees_its_own_topics_only(servers: Region) -> None:
    assert await visible(servers, "ehr-residents") & {"ehr-residents-events", "study-changed", "audit-recorded"} == {
        "ehr-residents-events"
    }
    edge = await visible(servers, "edge-community")
    assert {"edge-events-community", "edge-commands-community"} <= edge
    assert not {topic for topic in edge if "secondary" in topic}


async def test_kafka_refuses_a_wrong_password(servers: Region) -> None:
    reasons: list[str] = []
    client = AdminClient(
        {
            "bootstrap.servers": servers.kafka.edge_bootstrap,
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": "edge-community",
            "sasl.password": servers.kafka.passwords["edge-secondary"],
            "log_level": 0,
            "error_cb": lambda error: reasons.append(error.name()),
        }
    )
    with pytest.raises(KafkaException):
        await asyncio.to_thread(client.list_topics, timeout=5)
    await asyncio.to_thread(client.poll, 0)
    assert "_AUTHENTICATION" in reasons


async def test_service_writes_its_own_database_only(servers: Region) -> None:
    key: dict[str, Any] = {"_id": uuid4().hex}
    await servers.client("indexer")["index"]["checks"].insert_one(key)
    gateway = servers.client("gateway")
    assert await gateway["index"]["checks"].find_one(key) == key
    with pytest.raises(OperationFailure, match="not authorized"):
        await gateway["index"]["checks"].delete_one(key)
    with pytest.raises(OperationFailure, match="not authorized"):
        await servers.client("notification")["consult"]["consults"].find_one({})
    await servers.client("indexer")["index"]["checks"].drop()


async def test_transactions_work(servers: Region) -> None:
    client = servers.client("consult")
    checks = client["consult"]["checks"]
    async with client.start_session() as session:
        async with await session.start_transaction():
            await checks.insert_one({"_id": "kept"}, session=session)
        async with await session.start_transaction():
            await checks.insert_one({"_id": "given up"}, session=session)
            await session.abort_transaction()
    assert [row["_id"] async for row in checks.find()] == ["kept"]
    await checks.drop()


async def test_only_the_object_writer_deletes_objects(servers: Region, tmp_path: Path) -> None:
    source = tmp_path / "object"
    source.write_bytes(b"an object")

    def act() -> None:
        ingest, gateway, writer = (minio(servers, name) for name in ("dicom-ingest", "gateway", "object-writer"))
        ingest.fput_object(bucket_name="staging", object_name="check", file_path=str(source))
        assert gateway.stat_object(bucket_name="staging", object_name="check").size == source.stat().st_size
        for client in (ingest, gateway):
            with pytest.raises(S3Error, match="AccessDenied"):
                client.remove_object(bucket_name="staging", object_name="check")
        for client, bucket in ((gateway, "staging"), (ingest, "archive")):
            with pytest.raises(S3Error, match="AccessDenied"):
                client.fput_object(bucket_name=bucket, object_name="other", file_path=str(source))
        writer.remove_object(bucket_name="staging", object_name="check")
        there = {bucket.name for bucket in minio(servers, "root-user").list_buckets()}
        assert there >= {*BUCKETS, LOCKED_BUCKET}

    await asyncio.to_thread(act)


async def test_killed_server_comes_back_at_its_address_with_its_data(servers: Region, tmp_path: Path) -> None:
    source = tmp_path / "object"
    source.write_bytes(b"an object")
    client = minio(servers, "object-writer")
    await asyncio.to_thread(client.fput_object, bucket_name="archive", object_name="kept", file_path=str(source))
    before = servers.state["pids"]["minio"]
    await servers.kill("minio")
    assert servers.state["pids"]["minio"] is None
    await servers.restart("minio")
    assert servers.state["pids"]["minio"] != before
    await asyncio.to_thread(client.stat_object, bucket_name="archive", object_name="kept")
    await asyncio.to_thread(client.remove_object, bucket_name="archive", object_name="kept")


@pytest.mark.parametrize(
    ("client_id", "secret", "hospital", "roles"),
    [
        ("edge-community", "edge-community", "community", ["edge-agent"]),
        ("edge-secondary", "edge-secondary", "secondary", ["edge-agent"]),
        ("consult-service", "consult-service", None, ["consult-service"]),
        ("portal", "portal", None, ["gateway"]),
    ],
)
async def test_keycloak_says_who_a_service_is(
    region: Region, client_id: str, secret: str, hospital: str | None, roles: list[str]
) -> None:
    async with httpx.AsyncClient(base_url=region.keycloak.issuer, timeout=30) as client:
        answer = await client.post(
            "/protocol/openid-connect/token",
            data={"grant_type": "client_credentials"},
            auth=(client_id, region.client_secret(secret)),
        )
        answer.raise_for_status()
        keys = KeySet.import_key_set((await client.get("/protocol/openid-connect/certs")).json())
    claims = jwt.decode(answer.json()["access_token"], keys, algorithms=["RS256"]).claims
    assert claims["iss"] == region.keycloak.issuer
    assert "imaging-cloud" in claims["aud"]
    assert claims.get("hospital") == hospital
    assert claims["roles"] == roles
