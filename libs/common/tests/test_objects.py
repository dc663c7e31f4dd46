"""The object store's contract on the fake; manifests; HTJ2K and back."""

from pathlib import Path

import numpy as np
import pytest

from imaging_common.objects.contract import check_object_store
from imaging_common.objects.manifest import UnreadableManifest, read_manifest, write_manifest
from imaging_common.objects.model import Manifest, StoredInstance, batch_key, collection_id, manifest_key
from imaging_common.objects.rebuild import decode_frame, encode_frame, rebuild_instance
from imaging_common.objects.store import FakeObjectStore, ObjectNotFound

SHA = collection_id(["a"])


def stored(**fields: object) -> StoredInstance:
    values = {
        "sop_instance_uid": "1.2.3.4",
        "sop_class_uid": "1.2.840.10008.5.1.4.1.1.2",
        "series_uid": "1.2.3",
        "transfer_syntax_uid": "1.2.840.10008.1.2.1",
        "sha256": SHA,
        "original_length": 10,
        "offset": 0,
        "length": 10,
        "header": {"00100010": {"vr": "PN", "Value": [{"Ideographic": "王^小东"}]}},
    }
    return StoredInstance.model_validate(values | fields)


async def test_fake_store_keeps_contract_when_used(tmp_path: Path) -> None:
    await check_object_store(FakeObjectStore(), "staging", tmp_path)


async def test_manifest_comes_back_when_written() -> None:
    store = FakeObjectStore()
    key = batch_key("community", "1.2", SHA)
    manifest = Manifest(kind="batch", hospital="community", study_uid="1.2", id=SHA, data_key=key, instances=[stored()])
    assert await write_manifest(store, "staging", manifest) == manifest_key(key)
    assert await read_manifest(store, "staging", manifest_key(key)) == manifest
    with pytest.raises(ObjectNotFound):
        await read_manifest(store, "staging", "none.json")


@pytest.mark.parametrize("data", [b"", b"{}", b"\x28\xb5\x2f\xfd\x00"])
async def test_manifest_is_refused_when_object_is_none(data: bytes) -> None:
    store = FakeObjectStore()
    await store.put("staging", "k.json", data)
    with pytest.raises(UnreadableManifest):
        await read_manifest(store, "staging", "k.json")


@pytest.mark.parametrize("kind", ["<u1", "<i1", "<u2", "<i2", ">u2", ">i2"])
@pytest.mark.parametrize("shape", [(1, 1), (33, 21), (7, 3), (16, 9, 3), (5, 3, 3)])
async def test_frame_comes_back_when_compressed(kind: str, shape: tuple[int, ...]) -> None:
    dtype = np.dtype(kind)
    limits = np.iinfo(dtype)
    array = np.random.default_rng(7).integers(limits.min, limits.max, shape, endpoint=True).astype(dtype)
    native = array.tobytes()
    encoded = encode_frame(
        native,
        rows=shape[0],
        columns=shape[1],
        samples=shape[2] if len(shape) == 3 else 1,
        bits=dtype.itemsize * 8,
        signed=dtype.kind == "i",
        big_endian=kind.startswith(">"),
    )
    entry = stored(
        encoding="htj2k",
        native_frame_length=len(native),
        swapped=kind.startswith(">"),
        head_length=3,
        tail_length=2,
        frames=[[(5 + 3, len(encoded))]],
        offset=5,
        length=5 + len(encoded),
    )
    assert decode_frame(encoded, entry) == native
    store = FakeObjectStore()
    await store.put("archive", "k", b"12345" + b"HED" + encoded + b"TL")
    assert await rebuild_instance(store, "archive", "k", entry) == b"HED" + native + b"TL"


def test_decoding_fails_clearly_when_frame_is_damaged() -> None:
    entry = stored(encoding="htj2k", native_frame_length=4)
    with pytest.raises(ValueError, match="does not decode"):
        decode_frame(b"not a codestream", entry)


def test_codestream_is_rpcl_with_tlm_when_encoded() -> None:
    native = bytes(64 * 64)
    encoded = encode_frame(native, rows=64, columns=64, samples=1, bits=8, signed=False, big_endian=False)
    cod = encoded.index(b"\xff\x52")
    assert encoded[cod + 5] == 2  # progression order RPCL (ISO/IEC 15444-1 Table A.16)
    assert b"\xff\x55" in encoded[: encoded.index(b"\xff\x90")]  # TLM in the main header
    assert b"\xff\x50" in encoded[:cod]  # CAP: Part 15
