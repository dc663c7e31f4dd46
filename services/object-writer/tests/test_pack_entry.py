"""Pack entries: byte-exact for every sample the gate accepts, smaller where pixels are native, refused when rotten."""

import hashlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRBigEndian

from imaging_common.dicom import CheckedInstance, RejectedInstance, check_instance
from imaging_common.objects.model import StoredInstance
from imaging_common.objects.rebuild import rebuild
from imaging_native import ct
from object_writer.compress import Work, pack_entries
from object_writer.model import moved, pixel_shape

DATA = Path(pydicom.__file__).parent / "data"


def accepted() -> list[tuple[Path, CheckedInstance]]:
    found = []
    for path in sorted(DATA.rglob("*")):
        if path.is_file():
            try:
                found.append((path, check_instance(path.read_bytes())))
            except RejectedInstance:
                continue
    return found


def pack_one(folder: Path, file: bytes, instance: StoredInstance, lead: int = 0) -> tuple[bytes, StoredInstance | None]:
    """Pack a file that starts at `lead` of a data object."""
    source, target = folder / "in", folder / "out"
    source.write_bytes(b"x" * lead + file)
    (stored,) = pack_entries(source, target, [Work(moved(instance, 7), lead, pixel_shape(instance))])
    return target.read_bytes(), stored


def changed(path: Path, **attributes: Any) -> bytes:
    """A sample with other attributes."""
    dataset = dcmread(path)
    for name, value in attributes.items():
        setattr(dataset, name, value)
    return written(dataset)


def written(dataset: Dataset) -> bytes:
    out = BytesIO()
    dataset.save_as(out)
    return out.getvalue()


@pytest.mark.parametrize(("path", "checked"), accepted(), ids=lambda value: getattr(value, "name", ""))
def test_file_comes_back_byte_for_byte(path: Path, checked: CheckedInstance, tmp_path: Path) -> None:
    file = path.read_bytes()
    entry, stored = pack_one(tmp_path, file, checked.stored(0), lead=11)
    assert stored is not None
    assert (stored.offset, len(entry)) == (0, stored.length)
    assert len(entry) <= len(file)
    assert rebuild(memoryview(entry), 1000, moved(stored, 1000)) == file
    assert stored.sha256 == hashlib.sha256(file).hexdigest()


def test_ct_slice_becomes_htj2k_and_smaller(tmp_path: Path) -> None:
    file = ct.write_series(tmp_path / "ct", slices=1, seed=7).files[0].read_bytes()
    entry, stored = pack_one(tmp_path, file, check_instance(file).stored(0))
    assert stored is not None
    assert (stored.encoding, stored.frame_transfer_syntax_uid) == ("htj2k", "1.2.840.10008.1.2.4.202")
    assert len(entry) < 0.7 * len(file)


def test_native_samples_are_compressed() -> None:
    shaped = {path.name for path, checked in accepted() if pixel_shape(checked.stored(0))}
    assert {"CT_small.dcm", "MR_small.dcm", "MR_small_bigendian.dcm", "SC_rgb_small_odd.dcm"} <= shaped


@pytest.mark.parametrize(
    "name",
    [
        "ExplVR_BigEnd.dcm",  # Planar Configuration 1
        "SC_rgb_small_odd_big_endian.dcm",  # OW of 8 bits in big endian: samples swapped in pairs
        "SC_ybr_full_422_uncompressed.dcm",  # two chrominance samples for two pixels
        "liver_1frame.dcm",  # one bit a pixel
    ],
)
def test_pixels_stay_when_codec_cannot_hold_them(name: str) -> None:
    (checked,) = [checked for path, checked in accepted() if path.name == name]
    assert pixel_shape(checked.stored(0)) is None


def test_noise_stays_when_it_does_not_get_smaller(tmp_path: Path) -> None:
    dataset = dcmread(DATA / "test_files" / "CT_small.dcm")
    dataset.PixelData = np.random.default_rng(1).integers(0, 65536, 128 * 128, dtype=np.uint16).tobytes()
    file = written(dataset)
    entry, stored = pack_one(tmp_path, file, check_instance(file).stored(0))
    assert stored is not None
    assert stored.encoding == "original"
    assert entry == file


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize("frames", [1, 3])
def test_pixels_of_every_kind_come_back(bits: int, samples: int, signed: int, frames: int, tmp_path: Path) -> None:
    rows, columns = 37, 23
    rng = np.random.default_rng(bits + samples)
    smooth = np.cumsum(rng.integers(-3, 4, frames * rows * columns * samples)).astype(f"<i{bits // 8}")
    data = smooth.tobytes()
    file = changed(
        DATA / "test_files" / "CT_small.dcm",
        BitsAllocated=bits,
        BitsStored=bits,
        HighBit=bits - 1,
        SamplesPerPixel=samples,
        PlanarConfiguration=0,
        PixelRepresentation=signed,
        NumberOfFrames=frames,
        Rows=rows,
        Columns=columns,
        PixelData=data + b"\0" * (len(data) % 2),
    )
    entry, stored = pack_one(tmp_path, file, check_instance(file).stored(0))
    assert stored is not None
    assert stored.encoding == "htj2k"
    assert len(stored.frames) == frames
    assert rebuild(memoryview(entry), 0, stored) == file


def test_entry_is_refused_when_rotten(tmp_path: Path) -> None:
    file = bytearray(ct.write_series(tmp_path / "ct", slices=1, seed=8).files[0].read_bytes())
    instance = check_instance(bytes(file)).stored(0)
    file[-1] ^= 1
    entry, stored = pack_one(tmp_path, bytes(file), instance)
    assert stored is None
    assert entry == b""


def test_big_endian_sample_is_word_by_word() -> None:
    path = DATA / "test_files" / "MR_small_bigendian.dcm"
    assert dcmread(path).file_meta.TransferSyntaxUID == ExplicitVRBigEndian
    shape = pixel_shape(check_instance(path.read_bytes()).stored(0))
    assert shape is not None
    assert (shape.big_endian, shape.bits) == (True, 16)
