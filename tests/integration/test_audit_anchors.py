"""Anchors of the audit chains on a real MinIO with object lock: the first one stays, whoever tries."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from minio import Minio
from minio.error import S3Error
from pydantic import SecretStr

from audit.adapters.fake_records import FakeRecordStore
from audit.adapters.minio_vault import FOLDER, MinioVault
from audit.errors import VaultUnavailable
from audit.model import Anchor, Head
from audit.settings import AuditSettings
from audit.usecases import anchor_heads, append_record, verify_chains
from imaging_common.events import AuditRecorded
from imaging_common.testing.waiting import until

NOW = datetime(2026, 11, 24, 8, 30, tzinfo=UTC)


def settings(servers: Any, user: str = "audit", **more: Any) -> AuditSettings:
    access, secret = servers.minio.credentials[user]
    return AuditSettings(
        minio_endpoint=servers.minio.endpoint, minio_access_key=access, minio_secret_key=SecretStr(secret), **more
    )


@pytest.fixture
def bucket(servers: Any) -> str:
    """A bucket of its own, made as the region makes its own."""
    access, secret = servers.minio.credentials["root-user"]
    client = Minio(endpoint=servers.minio.endpoint, access_key=access, secret_key=secret, secure=False)
    name = f"anchors-{uuid4().hex[:8]}"
    client.make_bucket(bucket_name=name, object_lock=True)
    return name


async def test_anchor_stays_when_even_the_administrator_removes_or_overwrites_it(servers: Any, bucket: str) -> None:
    store = FakeRecordStore()
    vault = MinioVault(settings(servers, "root-user", anchor_bucket=bucket))
    for n in range(3):
        look = AuditRecorded(
            audit_id=f"a{n}", service="gateway", action="view", outcome="success", user="doctor.tcm", at=NOW
        )
        await append_record(store, look, "audit-recorded-0")
    assert await anchor_heads(store, vault, NOW, 3600.0)
    assert not await anchor_heads(store, vault, NOW, 3600.0)

    root = servers.minio.credentials["root-user"]
    client = Minio(endpoint=servers.minio.endpoint, access_key=root[0], secret_key=root[1], secure=False)
    (kept,) = client.list_objects(bucket_name=bucket, prefix=FOLDER, recursive=True, include_version=True)
    assert kept.object_name is not None
    with pytest.raises(S3Error, match=r"WORM|locked|protected|retention"):
        client.remove_object(bucket_name=bucket, object_name=kept.object_name, version_id=kept.version_id)
    other = MinioVault(settings(servers, "root-user", anchor_bucket=bucket))
    client.remove_object(bucket_name=bucket, object_name=kept.object_name)
    await other.keep("2026/11/24/080000", Anchor(NOW, {"audit-recorded-0": Head(3, "f" * 64)}))

    found = await verify_chains(store, vault)
    assert (found.breaks, found.anchors) == ([], 1)


async def test_audit_service_keeps_anchors_in_the_regions_bucket_with_its_own_rights_only(servers: Any) -> None:
    vault = MinioVault(settings(servers))
    await vault.check()
    name = f"2020/01/01/{uuid4().hex[:6]}"
    assert await vault.keep(name, Anchor(NOW, {}))
    assert not await vault.keep(name, Anchor(NOW, {}))
    for user in ("gateway", "object-writer"):
        with pytest.raises(VaultUnavailable):
            await MinioVault(settings(servers, user)).keep(f"{name}-{user}", Anchor(NOW, {}))


async def test_running_region_anchors_its_chains(region: Any) -> None:
    """The service anchors at its start and every hour; what it kept agrees with the chains."""
    vault = MinioVault(
        AuditSettings(
            minio_endpoint=region.state["minio"]["endpoint"],
            minio_access_key=region.state["minio"]["access_key"],
            minio_secret_key=SecretStr(region.state["minio"]["secret_key"]),
        )
    )

    async def anchored() -> bool:
        return bool([anchor async for anchor in vault.all() if anchor.heads])

    await until(anchored, what="the first anchor")
