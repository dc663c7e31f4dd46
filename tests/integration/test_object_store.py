"""The object store's contract on a real MinIO."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from imaging_common.objects.contract import check_object_store
from imaging_common.objects.store import MinioObjectStore, StoreUnavailable
from imaging_common.settings import ServiceSettings
from imaging_native.process import free_port
from imaging_native.region import Region


def settings(region: Region, **fields: object) -> ServiceSettings:
    minio = region.state["minio"]
    values = {
        "minio_endpoint": minio["endpoint"],
        "minio_access_key": minio["access_key"],
        "minio_secret_key": SecretStr(minio["secret_key"]),
    }
    return ServiceSettings.model_validate(values | fields)


async def test_minio_keeps_contract_when_used(servers: Region, tmp_path: Path) -> None:
    store = MinioObjectStore(settings(servers))
    await store.check()
    await check_object_store(store, "cache", tmp_path, many=1003)


async def test_store_is_unavailable_when_nothing_listens(servers: Region) -> None:
    store = MinioObjectStore(settings(servers, minio_endpoint=f"127.0.0.1:{free_port()}"))
    with pytest.raises(StoreUnavailable):
        await store.get("staging", "k")


async def test_store_is_unavailable_when_credentials_are_wrong(servers: Region) -> None:
    store = MinioObjectStore(settings(servers, minio_secret_key=SecretStr("wrong-secret")))
    with pytest.raises(StoreUnavailable):
        await store.get("staging", "k")
