"""The gate on pydicom's own samples: what passes, what is refused and why, and that no cut of a file passes."""

import hashlib
import json
import struct
import time
import zlib
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import generate_uid

from imaging_common.dicom import RejectedInstance, check_instance
from imaging_common.dicom.part10 import DEFLATED, encoding_of, read_meta, write_meta
from imaging_common.dicom.scan import scan

DATA = Path(pydicom.__file__).parent / "data"
CT = DATA / "test_files" / "CT_small.dcm"
SAMPLES = [
    *("charset_files/chrX1.dcm", "charset_files/chrX2.dcm", "charset_files/chrH31.dcm", "test_files/CT_small.dcm"),
    *("test_files/MR_small.dcm", "test_files/JPEG2000.dcm", "test_files/JPEG-lossy.dcm"),
    *("test_files/examples_palette.dcm", "test_files/examples_ybr_color.dcm", "test_files/SC_rgb_small_odd.dcm"),
    *("test_files/SC_rgb_small_odd_jpeg.dcm", "test_files/liver_1frame.dcm", "test_files/reportsi.dcm"),
    *("test_files/test-SR.dcm", "test_files/waveform_ecg.dcm", "test_files/ExplVR_BigEnd.dcm"),
    *("test_files/image_dfl.dcm", "test_files/SC_rgb_rle_2frame.dcm", "test_files/693_J2KI.dcm"),
]


def sample(name: str) -> bytes:
    return (DATA / name).read_bytes()


def element(tag: int, vr: bytes, value: bytes) -> bytes:
    value += b"\0" * (len(value) % 2)
    if vr in (b"OB", b"OW", b"UN", b"SQ", b"UT"):
        return struct.pack("<HH2sHL", tag >> 16, tag & 0xFFFF, vr, 0, len(value)) + value
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value


RAW = "1.2.840.10008.5.1.4.1.1.66"  # Raw Data Storage: needs no pixels


def instance(
    *extra: bytes, sop: str = "1.2.3.4", study: str = "1.2.3", series: str = "1.2.3.1", cls: str = RAW, syntax: str = ""
) -> bytes:
    """A small Explicit VR Little Endian file with these UIDs and further elements."""
    elements = [
        element(0x00080016, b"UI", cls.encode()),
        element(0x00080018, b"UI", sop.encode()),
        element(0x0020000D, b"UI", study.encode()),
        element(0x0020000E, b"UI", series.encode()),
        *extra,
    ]
    meta = write_meta(cls, sop if sop else "1.2.3.4", syntax or "1.2.840.10008.1.2.1")
    return meta + b"".join(sorted(elements, key=lambda raw: struct.unpack("<HH", raw[:4])))


def reason(data: bytes | Path, **options: int) -> str:
    with pytest.raises(RejectedInstance) as caught:
        check_instance(data, **options)  # type: ignore[arg-type]
    return caught.value.reason_code


@pytest.mark.parametrize("name", SAMPLES)
def test_gate_passes_and_describes_when_file_is_whole(name: str) -> None:
    data = sample(name)
    checked = check_instance(DATA / name)
    dataset = pydicom.dcmread(DATA / name)
    assert checked.sha256 == hashlib.sha256(data).hexdigest()
    assert (checked.study_uid, checked.series_uid) == (dataset.StudyInstanceUID, dataset.SeriesInstanceUID)
    assert (checked.sop_instance_uid, checked.sop_class_uid) == (dataset.SOPInstanceUID, dataset.SOPClassUID)
    json.dumps(checked.header, allow_nan=False)
    assert {key for key in checked.header if not key.endswith("0000")} == {
        f"{int(e.tag):08X}" for e in dataset if e.tag.element
    }
    assert check_instance(memoryview(data)) == checked
    stored = checked.stored(1000)
    assert stored.offset == 1000
    assert stored.frames == [[(at + 1000, size) for at, size in ranges] for ranges in checked.frames]


@pytest.mark.parametrize("name", SAMPLES)
def test_gate_refuses_when_file_is_cut_anywhere(name: str) -> None:
    data = sample(name)
    whole = check_instance(data)
    step = max(1, len(data) // 400)
    passed = []
    for cut in sorted({*range(0, len(data), step), *range(max(0, len(data) - 40), len(data))}):
        try:
            check_instance(data[:cut], with_header=False, with_digests=False)
        except RejectedInstance:
            continue
        passed.append(cut)
    # cut between two elements a data set is still well-formed: without pixels nothing can give that away
    assert set(passed) <= boundaries(data, after_pixels=whole.pixel_sha256 is not None)


def boundaries(data: bytes, *, after_pixels: bool) -> set[int]:
    meta = read_meta(data)
    if meta.transfer_syntax_uid == DEFLATED:
        return {len(data) - 8}  # a trailer as of gzip, which is not part of the format
    elements = scan(data, meta.data_offset, encoding_of(meta.transfer_syntax_uid))
    ends = {e.offset + e.length for e in elements if not after_pixels or e.tag >= 0x7FE00010}
    return ends - {len(data)}


def test_gate_refuses_when_ct_loses_any_last_bytes() -> None:
    data = sample("test_files/CT_small.dcm")
    (before_padding,) = boundaries(data, after_pixels=True)
    cuts = set(range(len(data) - 300, len(data))) - {before_padding}
    assert {reason(data[:cut]) for cut in cuts} <= {"truncated", "pixels-short"}


def test_frames_are_the_pixels_when_native() -> None:
    checked = check_instance(CT)
    ((start, length),) = checked.frames[0]
    pixels = pydicom.dcmread(CT).PixelData
    assert sample("test_files/CT_small.dcm")[start : start + length] == pixels
    assert checked.pixel_sha256 == hashlib.sha256(pixels).hexdigest()
    assert checked.native is not None
    native = checked.native
    assert native.head_length + native.frame_length * native.frame_count + native.tail_length == checked.length


@pytest.mark.parametrize("name", ["SC_rgb_rle_2frame.dcm", "693_J2KI.dcm", "JPEG2000.dcm", "examples_ybr_color.dcm"])
def test_frames_are_the_fragments_when_encapsulated(name: str) -> None:
    path = DATA / "test_files" / name
    checked, data, dataset = check_instance(path), path.read_bytes(), pydicom.dcmread(path)
    count = int(dataset.get("NumberOfFrames", 1))
    expected = list(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=count))
    given = [b"".join(data[at : at + size] for at, size in ranges) for ranges in checked.frames]
    assert given == expected
    assert checked.native is None


def test_frames_are_left_out_when_they_do_not_start_on_a_byte() -> None:
    checked = check_instance(DATA / "test_files" / "liver_1frame.dcm")
    assert checked.frames == []
    assert checked.frame_transfer_syntax_uid == "1.2.840.10008.1.2.1"


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("chrX1.dcm", "Ideographic", "王^小東"),
        ("chrX2.dcm", "Ideographic", "王^小东"),
        ("chrH31.dcm", "Ideographic", "山田^太郎"),
        ("chrI2.dcm", "Ideographic", "洪^吉洞"),
        ("chrFren.dcm", "Alphabetic", "Buc^Jérôme"),
        ("chrRuss.dcm", "Alphabetic", "Люкceмбypг"),
    ],
)
def test_names_are_decoded_when_charset_is_declared(name: str, key: str, value: str) -> None:
    header = check_instance(DATA / "charset_files" / name).header
    assert header["00100010"]["Value"][0][key] == value
    assert header["00080005"]["Value"] == ["ISO_IR 192"]


def test_header_keeps_the_rest_when_one_element_is_odd() -> None:
    data = instance(
        element(0x00100010, b"PN", b"A^B"),
        element(0x00181151, b"IS", b"twelve"),
        element(0x00189305, b"FD", b"\x01\x02\x03"),  # no multiple of eight
        element(0x00189306, b"FD", struct.pack("<3d", float("nan"), float("inf"), 1.5)),
        element(0x00091001, b"UN", b"\x00\x01" * 1000),
        element(0x00091002, b"OB", b"\x01\x02"),
        element(0x00080008, b"CS", b"\xff\xfe\\B "),
        element(0x00280009, b"AT", b"\x18\x00\x63\x00\x01\x02"),
        element(0x00204000, b"LT", b""),
    )
    header = check_instance(data).header
    assert header["00100010"]["Value"] == [{"Alphabetic": "A^B"}]
    assert header["00181151"] == {"vr": "IS", "Value": ["twelve"]}
    assert header["00189305"]["vr"] == "UN"
    assert header["00189306"]["Value"] == ["NaN", "inf", 1.5]
    assert header["00091001"] == {"vr": "UN", "BulkDataURI": "bulkdata://1.2.3.4/00091001"}
    assert header["00091002"] == {"vr": "OB", "InlineBinary": "AQI="}
    assert header["00280009"]["vr"] == "UN"
    assert header["00204000"] == {"vr": "LT"}
    json.dumps(header, allow_nan=False)


@pytest.mark.parametrize("name", ["study", "series", "sop", "cls"])
def test_gate_refuses_when_a_uid_is_missing(name: str) -> None:
    assert reason(instance(**{name: ""})) in ("uid-missing", "bad-meta")


@pytest.mark.parametrize(
    "uid", ["../../etc/passwd", "1.2.3/4", "1.2.<b>", "1" * 65, "1..2", "1.2.3\n", "1.2\\1.3", ".1", "１.2"]
)
def test_gate_refuses_when_a_uid_is_hostile(uid: str) -> None:
    assert reason(instance(study=uid)) == "uid-malformed"
    assert reason(instance(sop=uid)) == "bad-meta"


def test_gate_refuses_when_meta_names_another_instance() -> None:
    data = instance()
    meta_end = len(write_meta(RAW, "1.2.3.4", "1.2.840.10008.1.2.1"))
    assert reason(write_meta(RAW, "1.2.3.9", "1.2.840.10008.1.2.1") + data[meta_end:]) == "meta-mismatch"


def nested(levels: int, delimited: bool) -> bytes:
    inner = b""
    for _ in range(levels):
        if delimited:
            item = struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF) + inner + struct.pack("<HHL", 0xFFFE, 0xE00D, 0)
            inner = struct.pack("<HH2sHL", 0x0040, 0xA730, b"SQ", 0, 0xFFFFFFFF) + item
            inner += struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
        else:
            inner = element(0x0040A730, b"SQ", struct.pack("<HHL", 0xFFFE, 0xE000, len(inner)) + inner)
    return inner


@pytest.mark.parametrize("delimited", [True, False])
def test_gate_refuses_when_nested_too_deep(delimited: bool) -> None:
    assert check_instance(instance(nested(20, delimited))).header["0040A730"]["vr"] == "SQ"
    assert reason(instance(nested(200, delimited))) == "nested-too-deep"
    assert reason(instance(nested(5000, delimited))) == "nested-too-deep"


def test_gate_refuses_within_bounds_when_deflated_data_inflates() -> None:
    body = instance(element(0x00091001, b"OB", b"\0" * 2_000_000))
    meta_length = len(write_meta(RAW, "1.2.3.4", "1.2.840.10008.1.2.1"))
    meta = write_meta(RAW, "1.2.3.4", "1.2.840.10008.1.2.1.99")
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    deflated = meta + packer.compress(body[meta_length:]) + packer.flush()
    assert check_instance(deflated).sop_instance_uid == "1.2.3.4"
    assert reason(deflated, inflate_limit=1_000_000) == "inflates-too-large"
    assert reason(deflated[:-20]) in ("truncated", "bad-deflate")
    assert reason(deflated + b"junk") == "trailing-bytes"
    bomb = zlib.compressobj(9, zlib.DEFLATED, -15)
    started = time.monotonic()
    zeros = b"".join(bomb.compress(bytes(1 << 20)) for _ in range(200)) + bomb.flush()
    assert reason(meta + zeros) == "inflates-too-large"
    assert time.monotonic() - started < 10


def test_gate_refuses_when_elements_are_countless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imaging_common.dicom.scan.MAX_ELEMENTS", 1000)
    item = struct.pack("<HHL", 0xFFFE, 0xE000, 8) + element(0x00400001, b"LO", b"")
    assert reason(instance(element(0x0040A730, b"SQ", item * 2000))) == "too-many-elements"


@pytest.mark.parametrize("data", [b"", b"<html>", b"\0" * 131, b"\0" * 128 + b"DICX", b"\0" * 128 + b"DICM"])
def test_gate_refuses_when_it_is_not_dicom(data: bytes) -> None:
    assert reason(data) in ("not-dicom", "bad-meta")


def test_gate_refuses_when_file_is_empty(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert reason(tmp_path / "empty") == "not-dicom"


@pytest.mark.parametrize("start", [b"MZ\x90\0", b"\x7fELF", b"<html><script>", b"%PDF-1.7", b"#!/bin/sh\n"])
def test_gate_refuses_when_preamble_is_a_second_format(start: bytes) -> None:
    data = instance()
    assert reason(start.ljust(128, b"\0") + data[128:]) == "foreign-preamble"
    tiff = b"II*\0".ljust(128, b"\0") + data[128:]
    assert check_instance(tiff).sop_instance_uid == "1.2.3.4"


@pytest.mark.parametrize(
    ("extra", "code"),
    [
        (element(0x00080018, b"UI", b"1.2.3.4"), "duplicate-element"),
        (struct.pack("<HH2sHL", 9, 0x1001, b"OB", 0, 0xFFFFFFFF), "bad-length"),
        (struct.pack("<HH2sH", 9, 0x1001, b"\0\0", 0), "bad-vr"),
        (struct.pack("<HHL", 0xFFFE, 0xE00D, 0), "bad-item"),
        (element(0x0040A730, b"SQ", b"\0" * 16), "bad-item"),
        (struct.pack("<HH2sH", 0x7FE1, 1, b"LO", 99), "truncated"),
        (b"\x34\x12\x56\x78ab", "truncated"),
    ],
)
def test_gate_refuses_when_encoding_is_broken(extra: bytes, code: str) -> None:
    assert reason(instance(extra)) == code


def test_gate_refuses_when_image_has_no_pixels() -> None:
    dataset = pydicom.dcmread(CT)
    del dataset.PixelData
    buffer = pydicom.filebase.DicomBytesIO()
    dataset.save_as(buffer)
    assert reason(buffer.getvalue()) == "pixels-missing"


def test_gate_refuses_when_transfer_syntax_is_unknown_or_private() -> None:
    assert reason(instance(syntax="1.2.840.113619.5.2")) == "transfer-syntax"
    assert reason(instance(syntax="1.2.840.10008.5.1.4.1.1.2")) == "transfer-syntax"


def test_gate_refuses_when_frames_are_fewer_than_told() -> None:
    dataset = pydicom.dcmread(DATA / "test_files" / "SC_rgb_rle_2frame.dcm")
    for frames, code in ((3, "pixels-short"), (0, "bad-frames"), (10**9, "bad-frames")):
        dataset.NumberOfFrames = frames
        buffer = pydicom.filebase.DicomBytesIO()
        dataset.save_as(buffer)
        assert reason(buffer.getvalue()) == code


def test_gate_survives_when_bytes_are_noise() -> None:
    data = bytearray(sample("test_files/CT_small.dcm"))
    for seed in range(3000):
        noisy = bytearray(data)
        at = 132 + seed * 7919 % 6000
        noisy[at : at + 2] = struct.pack("<H", seed * 31337 & 0xFFFF)
        try:
            checked = check_instance(bytes(noisy), with_digests=False)
        except RejectedInstance:
            continue
        json.dumps(checked.header, allow_nan=False)


def test_gate_names_nested_bulk_by_its_path() -> None:
    item = element(0x00091001, b"OB", b"x" * 3000)
    sequence = element(0x00089215, b"SQ", struct.pack("<HHL", 0xFFFE, 0xE000, len(item)) + item)
    header = check_instance(instance(sequence)).header
    inner = header["00089215"]["Value"][0]["00091001"]
    assert inner["BulkDataURI"] == "bulkdata://1.2.3.4/00089215/0/00091001"


def test_meta_is_read_by_pydicom_and_the_same_each_time() -> None:
    uid = generate_uid()
    data = instance(sop=uid)
    assert data == instance(sop=uid)
    dataset = pydicom.dcmread(pydicom.filebase.DicomBytesIO(data))
    assert dataset.file_meta.MediaStorageSOPInstanceUID == uid
