"""Manifests of batches and packs as objects: zstd-compressed JSON."""

import asyncio

import orjson
import zstandard

from imaging_common.errors import RejectedError
from imaging_common.objects.model import Manifest, manifest_key
from imaging_common.objects.store import ObjectStore

MAX_MANIFEST_BYTES = 256 * 1024 * 1024


class UnreadableManifest(RejectedError):
    """The object is no manifest."""


def encode(manifest: Manifest) -> bytes:
    """The manifest's bytes."""
    return zstandard.ZstdCompressor(level=3).compress(orjson.dumps(manifest.model_dump(mode="python")))


def decode(data: bytes) -> Manifest:
    """The manifest; `UnreadableManifest` when it is none."""
    try:
        raw = zstandard.ZstdDecompressor().decompress(data, max_output_size=MAX_MANIFEST_BYTES)
        return Manifest.model_validate(orjson.loads(raw))
    except (zstandard.ZstdError, ValueError) as error:
        raise UnreadableManifest(f"an object is no manifest: {type(error).__name__}") from error


async def write_manifest(store: ObjectStore, bucket: str, manifest: Manifest) -> str:
    """Write the manifest beside its data; its key. Call it after the data is written."""
    key = manifest_key(manifest.data_key)
    await store.put(bucket, key, await asyncio.to_thread(encode, manifest))
    return key


async def read_manifest(store: ObjectStore, bucket: str, key: str) -> Manifest:
    """Read a manifest; `ObjectNotFound` without it, `UnreadableManifest` when it is none."""
    return await asyncio.to_thread(decode, await store.get(bucket, key))
