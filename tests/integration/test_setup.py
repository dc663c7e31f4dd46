"""`region setup` on real servers that are set up already: a second run changes nothing, a rotated password counts."""

import asyncio
import json
from typing import Any

import pytest
from minio import MinioAdmin
from minio.credentials.providers import StaticProvider
from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure

from imaging_common.messaging.administration import EVERY_ACL, connect, known_users
from imaging_native.region import HOSPITALS, ORGANISATION, Region
from imaging_operate.setup.realm import secret_variable
from imaging_operate.setup.run import SetupFailed, run_setup
from imaging_operate.setup.settings import SetupSettings
from imaging_operate.topology import bucket_policies


def settings(servers: Region, **changes: Any) -> SetupSettings:
    """What Compose and the Helm chart give, for these servers."""
    access, secret = servers.minio.credentials["root-user"]
    given: dict[str, Any] = {
        "hospitals": list(HOSPITALS),
        "organisations": [ORGANISATION],
        "kafka_bootstrap": servers.kafka.bootstrap,
        "kafka_password": servers.kafka.passwords["admin"],
        "kafka_mechanism": "SCRAM-SHA-512",
        "kafka_replication": 1,
        "kafka_users": {name: password for name, password in servers.kafka.passwords.items() if name != "admin"},
        "mongo_url": servers.mongodb.url("root"),
        "mongo_replica_set": f"rs0/127.0.0.1:{servers.mongodb.port}",
        "mongo_users": servers.mongodb.passwords,
        "minio_endpoint": servers.minio.endpoint,
        "minio_access_key": access,
        "minio_secret_key": secret,
        "minio_users": servers.minio.credentials,
    }
    return SetupSettings.model_validate(given | changes)


def seen(servers: Region) -> dict[str, Any]:
    """Topics with their settings, permissions and users of all servers."""
    kafka = connect(servers.kafka.bootstrap, "admin", servers.kafka.passwords["admin"])
    admin = MinioAdmin(
        endpoint=servers.minio.endpoint,
        credentials=StaticProvider(*servers.minio.credentials["root-user"]),
        secure=False,
    )
    return {
        "topics": {name: len(topic.partitions) for name, topic in kafka.list_topics(timeout=20).topics.items()},
        "acls": sorted(map(repr, kafka.describe_acls(EVERY_ACL).result(20))),
        "users": known_users(kafka),
        "policies": {name: in_order(json.loads(admin.policy_info(name))) for name in bucket_policies()},
    }


def in_order(policy: Any) -> Any:
    """Servers give lists of policies and roles in any order."""
    if isinstance(policy, dict):
        return {key: in_order(value) for key, value in policy.items() if key != "UpdateDate"}
    return sorted(map(in_order, policy), key=json.dumps) if isinstance(policy, list) else policy


async def rights(servers: Region) -> dict[str, Any]:
    found = await servers.client("root")["admin"].command("usersInfo", 1)
    return {user["user"]: in_order(user["roles"]) for user in found["users"]}


async def test_second_run_changes_nothing(servers: Region) -> None:
    before, roles = await asyncio.to_thread(seen, servers), await rights(servers)
    lines: list[str] = []
    await run_setup(settings(servers), lines.append)
    assert sorted(line.split(":")[0] for line in lines) == ["Kafka", "MinIO", "MongoDB"]
    assert await asyncio.to_thread(seen, servers) == before
    assert await rights(servers) == roles


async def test_rotated_password_comes_into_force(servers: Region) -> None:
    old = servers.mongodb.url("audit")
    rotated = settings(servers, mongo_users={**servers.mongodb.passwords, "audit": "another password"})
    await run_setup(rotated, lambda _: None)
    async with AsyncMongoClient[dict[str, Any]](old, timeoutMS=10_000) as client:
        with pytest.raises(OperationFailure, match="Authentication failed"):
            await client["audit"]["checks"].find_one()
    await run_setup(settings(servers), lambda _: None)
    async with AsyncMongoClient[dict[str, Any]](old, timeoutMS=10_000) as client:
        assert await client["audit"]["checks"].find_one() is None


async def test_what_is_refused_is_told_by_server(servers: Region) -> None:
    wrong = settings(servers, minio_secret_key="not the key")
    with pytest.raises(SetupFailed, match=r"^MinIO: .*(signature|SignatureDoesNotMatch)"):
        await run_setup(wrong, lambda _: None)


async def test_realm_that_exists_gets_the_hospital_that_is_missing(region: Region) -> None:
    async with region.keycloak.admin() as admin:
        before = {c["clientId"]: c for c in (await admin.get("/admin/realms/region/clients")).json()}
    hospitals = [*HOSPITALS, "st-mary"]
    names = ("portal", "onboarding", "consult-service", "notification-service", "ehr-residents")
    variables = {secret_variable(client): "a secret" for client in (*names, *(f"edge-{h}" for h in hospitals))}
    given = SetupSettings.model_validate(
        {
            "hospitals": hospitals,
            "organisations": [ORGANISATION],
            "keycloak_url": region.keycloak.url,
            "keycloak_password": region.keycloak.admin_password,
            "realm_variables": variables,
            "portal_url": region.portal,
        }
    )
    lines: list[str] = []
    for _ in range(2):
        await run_setup(given, lines.append)
    async with region.keycloak.admin() as admin:
        after = {c["clientId"]: c for c in (await admin.get("/admin/realms/region/clients")).json()}
        assert after.keys() - before.keys() == {"edge-st-mary"}
        assert {name: after[name].get("secret") for name in before} == {n: c.get("secret") for n, c in before.items()}
        await admin.delete(f"/admin/realms/region/clients/{after['edge-st-mary']['id']}")
    assert lines == [
        "Keycloak: realm region was there, 1 clients and roles added",
        "Keycloak: realm region was there, 0 clients and roles added",
    ]
