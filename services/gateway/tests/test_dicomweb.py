"""DICOMweb over fakes: search, access, frames in every form, files, metadata, pictures."""

import email.parser
import hashlib
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import imagecodecs
import numpy as np
import orjson
import pydicom
import pytest
from fastapi import FastAPI, Request
from PIL import Image
from starlette.exceptions import HTTPException

from gateway.dicomweb import build_dicomweb_router
from imaging_common.access import Grant, StudyRef, Subject
from imaging_common.audit import AuditTrail
from imaging_common.dicom.errors import RejectedInstance
from imaging_common.dicom.gate import CheckedInstance, check_instance
from imaging_common.events import AuditRecorded
from imaging_common.index.fake import FakeIndexReader
from imaging_common.index.names import parse_person_name
from imaging_common.messaging import FakePublisher
from imaging_common.objects.store import FakeObjectStore

SAMPLES = Path(pydicom.__file__).parent / "data" / "test_files"
DOCTOR = Subject("doctor.community", "community", frozenset({"doctor"}))
EXPERT = Subject("expert.secondary", "secondary", frozenset({"expert"}))
JSON = {"Accept": "application/dicom+json"}
ANY = {"Accept": "multipart/related; type=application/octet-stream; transfer-syntax=*"}
LITTLE = {"Accept": 'multipart/related; type="application/octet-stream"; transfer-syntax=1.2.840.10008.1.2.1'}


@dataclass
class World:
    """An index, a store, who asks, and what was audited."""

    reader: FakeIndexReader = field(default_factory=FakeIndexReader)
    store: Any = field(default_factory=FakeObjectStore)
    publisher: FakePublisher = field(default_factory=FakePublisher)
    subject: Subject | None = DOCTOR
    web: httpx.AsyncClient = field(init=False)
    app: FastAPI = field(default_factory=FastAPI)

    def __post_init__(self) -> None:
        app = self.app

        async def subject_of(request: Request) -> Subject:
            if self.subject is None:
                raise HTTPException(401)
            return self.subject

        trail = AuditTrail("gateway", self.publisher)
        app.include_router(
            build_dicomweb_router(self.reader.index(), self.store, subject_of, trail), prefix="/dicomweb"
        )
        self.web = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://portal/dicomweb")

    @property
    def audited(self) -> list[AuditRecorded]:
        return [event for _, event, _ in self.publisher.published if isinstance(event, AuditRecorded)]

    async def add(
        self, files: list[bytes], holder: str = "community", bucket: str = "staging"
    ) -> list[CheckedInstance]:
        """Store files as one object and index them as the indexer does."""
        checked, position = [check_instance(file) for file in files], 0
        key = f"{holder}/{checked[0].study_uid}/{hashlib.sha256(b''.join(files)).hexdigest()}.batch"
        await self.store.put(bucket, key, b"".join(files))
        for file, instance in zip(files, checked, strict=True):
            frames = [[(start + position, size) for start, size in ranges] for ranges in instance.frames]
            location = {
                "bucket": bucket, "key": key, "encoding": "original", "offset": position, "length": len(file),
                "original_length": len(file), "frames": frames,
                "frame_transfer_syntax_uid": instance.transfer_syntax_uid if instance.pixel_sha256 else None,
            }  # fmt: skip
            self.index(instance, holder, location)
            position += len(file)
        return checked

    def index(self, instance: CheckedInstance, holder: str, location: dict[str, Any]) -> None:
        study_key = f"{holder}/{instance.study_uid}"
        series_key = f"{study_key}/{instance.series_uid}"
        header = instance.header
        names = {"study_uid": instance.study_uid, "holder": holder, "study_key": study_key}

        def text(tag: str) -> Any:
            return (header.get(tag, {}).get("Value") or [""])[0]

        self.reader.put(
            "instances",
            {"_id": f"{study_key}/{instance.sop_instance_uid}", **names, "series_uid": instance.series_uid,
             "series_key": series_key, "sop_instance_uid": instance.sop_instance_uid,
             "sop_class_uid": instance.sop_class_uid, "instance_number": instance.instance_number,
             "transfer_syntax_uid": instance.transfer_syntax_uid, "sha256": instance.sha256,
             "pixel_sha256": instance.pixel_sha256, "location": location, "header": orjson.dumps(header)},
        )  # fmt: skip
        count = sum(d["series_key"] == series_key for d in self.reader.collections["instances"].values())
        self.reader.put(
            "series",
            {"_id": series_key, **names, "series_uid": instance.series_uid, "modality": text("00080060"),
             "series_number": text("00200011") or None, "description": text("0008103E"), "instance_count": count,
             "facts_from": instance.sop_instance_uid},
        )  # fmt: skip
        of_study = [d for d in self.reader.collections["series"].values() if d["study_key"] == study_key]
        self.reader.put(
            "studies",
            {"_id": study_key, "study_uid": instance.study_uid, "holder": holder, "version": {"epoch": 1, "n": count},
             "patient": {"id": text("00100020"), "issuer": "", "birth_date": text("00100030"), "sex": "",
                         "name": parse_person_name(text("00100010") or None).model_dump()},
             "study_date": text("00080020"), "study_time": text("00080030"), "accession": text("00080050"),
             "modalities": sorted({d["modality"] for d in of_study}), "series_count": len(of_study),
             "instance_count": sum(d["instance_count"] for d in of_study), "updated_at": "2026-11-24T00:00:00Z",
             "facts_from": instance.sop_instance_uid},
        )  # fmt: skip


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    async with made.app.router.lifespan_context(made.app):
        yield made
    await made.web.aclose()


def make(number: int = 1, *, study: str = "1.2.3", name: str = "Wang^Xiaodong=王^小东", **changes: Any) -> bytes:
    """A small CT file."""
    ds = pydicom.Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", f"{study}.1.{number}"
    ds.StudyDate, ds.StudyTime, ds.AccessionNumber, ds.Modality = "20261120", "091500", "A1", "CT"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate = name, "P-1", "19680312"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.InstanceNumber, ds.SeriesNumber = study, f"{study}.1", number, 1
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.Rows, ds.Columns = 1, "MONOCHROME2", 64, 64
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    ds.RescaleIntercept, ds.RescaleSlope, ds.WindowCenter, ds.WindowWidth = "0", "1", "40", "400"
    ds.PixelData = pixels_of(number).tobytes()
    for keyword, value in changes.items():
        setattr(ds, keyword, value)
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    return out.getvalue()


def pixels_of(number: int) -> Any:
    return (np.arange(64 * 64, dtype=np.int16).reshape(64, 64) % 500 - 250 + number).astype("<i2")


def parts(answer: httpx.Response) -> list[tuple[str, bytes]]:
    """(content type, bytes) of the parts of a multipart answer."""
    header = email.parser.HeaderParser().parsestr(f"Content-Type: {answer.headers['content-type']}")
    boundary = b"--" + str(header.get_param("boundary")).encode()
    found = []
    for part in answer.content.split(boundary)[1:-1]:
        head, body = part.split(b"\r\n\r\n", 1)
        found.append((head.decode().strip().removeprefix("Content-Type: "), body.removesuffix(b"\r\n")))
    return found


FRAME = "/studies/1.2.3/series/1.2.3.1/instances/1.2.3.1.{}/frames/1"


async def test_study_is_found_by_every_spelling_of_the_name(world: World) -> None:
    await world.add([make(1), make(2)])
    await world.add([make(1, study="1.2.4", name="Li^Na=李^娜", PatientID="P-2")])
    for name in ("王小东", "wang xiaodong", "wangxiaodong", "Wang^XiaoDong", "Wang*", "*小东"):
        answer = await world.web.get("/studies", params={"PatientName": name}, headers=JSON)
        assert [row["0020000D"]["Value"][0] for row in answer.json()] == ["1.2.3"], name
    answer = await world.web.get("/studies", params={"00100010": "xiaodong", "fuzzymatching": "true"})
    (row,) = answer.json()
    assert row["00100010"]["Value"] == [{"Alphabetic": "Wang^Xiaodong", "Ideographic": "王^小东"}]
    assert (row["00201206"]["Value"], row["00201208"]["Value"], row["00080061"]["Value"]) == ([1], [2], ["CT"])
    assert row["00081190"]["Value"] == ["/dicomweb/studies/1.2.3"]
    assert row["00080056"]["Value"] == ["ONLINE"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("StudyDate=20261101-20261130", 1),
        ("StudyDate=20261121-", 0),
        ("StudyDate=-20261120", 1),
        ("StudyTime=09-10", 1),
        ("StudyTime=0916-", 0),
        ("AccessionNumber=A?", 1),
        ("PatientID=P-*", 1),
        ("PatientID=p-1", 0),
        ("ModalitiesInStudy=MR\\CT", 1),
        ("ModalitiesInStudy=MR", 0),
        ("StudyInstanceUID=1.2.3,9.9", 1),
        ("Modality=CT", 1),
        ("PatientBirthDate=19680312", 1),
        ("StudyInstanceUID=9.9", 0),
    ],
)
async def test_standard_keys_match_as_the_standard_says(world: World, query: str, found: int) -> None:
    await world.add([make()])
    answer = await world.web.get(f"/studies?{query}")
    assert answer.status_code == (200 if found else 204)
    assert (len(answer.json()) if found else 0) == found


@pytest.mark.parametrize("query", ["NoSuchThing=1", "StudyDate=yesterday", "limit=x", "includefield=Nope", "Rows=64"])
async def test_query_is_refused_when_it_is_malformed(world: World, query: str) -> None:
    assert (await world.web.get(f"/studies?{query}")).status_code == 400


async def test_answer_warns_when_it_is_cut(world: World) -> None:
    for number in range(3):
        await world.add([make(1, study=f"1.2.{number + 3}")])
    answer = await world.web.get("/studies", params={"limit": 2})
    assert len(answer.json()) == 2
    assert "There are 1 additional results that can be requested" in answer.headers["warning"]
    assert len((await world.web.get("/studies", params={"limit": 2, "offset": 2})).json()) == 1


async def test_lower_levels_are_searched_with_keys_of_all_levels(world: World) -> None:
    await world.add([make(1), make(2)])
    for path, count in (
        ("/series?PatientID=P-1", 1),
        ("/instances?Modality=CT&PatientID=P-1", 2),
        ("/studies/1.2.3/series", 1),
        ("/studies/1.2.3/instances?InstanceNumber=2", 1),
        ("/studies/1.2.3/series/1.2.3.1/instances?includefield=WindowCenter&includefield=all", 2),
    ):
        rows = (await world.web.get(path)).json()
        assert len(rows) == count, path
    assert rows[0]["00281050"]["Value"] == [40.0]
    assert rows[0]["00280010"]["Value"] == [64]
    assert rows[1]["00081190"]["Value"] == ["/dicomweb/studies/1.2.3/series/1.2.3.1/instances/1.2.3.1.2"]
    (row,) = (await world.web.get("/studies?includefield=KVP&includefield=00281051")).json()
    assert (row["00281051"]["Value"], row["00180060"]) == ([400.0], {"vr": "DS"})


async def test_foreign_study_is_not_there_and_the_attempt_is_audited(world: World) -> None:
    await world.add([make()])
    world.subject = EXPERT
    assert (await world.web.get("/studies")).status_code == 204
    for path in ("/studies/1.2.3", "/studies/1.2.3/series", "/studies/1.2.3/metadata", FRAME.format(1)):
        assert (await world.web.get(path)).status_code == 404, path
    assert {(a.outcome, a.reason) for a in world.audited if a.action == "view"} == {("denied", "no-grant")}
    absent = await world.web.get("/studies/9.9.9")
    assert (absent.status_code, absent.json()) == (404, (await world.web.get("/studies/1.2.3")).json())


async def test_grant_opens_the_named_holder_only(world: World) -> None:
    await world.add([make()])
    await world.add([make(PatientID="OTHER")], holder="tertiary")
    world.subject = Subject(EXPERT.user, "secondary", EXPERT.roles, (Grant(StudyRef("1.2.3", "community"), "case"),))
    (row,) = (await world.web.get("/studies")).json()
    assert row["00100020"]["Value"] == ["P-1"]
    assert (await world.web.get("/hospitals/tertiary/studies/1.2.3/series")).status_code == 404
    (row,) = (await world.web.get("/hospitals/community/studies/1.2.3/series")).json()
    assert row["00081190"]["Value"] == ["/dicomweb/hospitals/community/studies/1.2.3/series/1.2.3.1"]


async def test_nothing_is_answered_when_nobody_is_signed_in(world: World) -> None:
    world.subject = None
    for path in ("/studies", "/studies/1.2.3", FRAME.format(1), "/instances"):
        assert (await world.web.get(path)).status_code == 401


async def test_viewing_is_audited_once_however_many_frames_are_fetched(world: World) -> None:
    await world.add([make(n) for n in range(1, 6)])
    for number in range(1, 6):
        assert (await world.web.get(FRAME.format(number), headers=ANY)).status_code == 200
    assert len({a.audit_id for a in world.audited}) == len(world.audited) <= 2
    assert {(a.action, a.outcome, a.holder) for a in world.audited} == {("view", "success", "community")}


async def test_native_frame_is_given_as_it_lies(world: World) -> None:
    await world.add([make(1), make(2)])
    for headers in (ANY, LITTLE, {}, {"Accept": "multipart/related"}):
        answer = await world.web.get(FRAME.format(2), headers=headers)
        assert parts(answer) == [
            ("application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1", pixels_of(2).tobytes())
        ]
        assert answer.headers["imaging-stored-in"] == "staging"
    single = await world.web.get(FRAME.format(1), headers={"Accept": "application/octet-stream"})
    assert single.content == pixels_of(1).tobytes()


async def test_frame_is_encoded_without_loss_when_an_image_type_is_asked_for(world: World) -> None:
    await world.add([make(1)])
    decoders = {
        "image/jphc": imagecodecs.htj2k_decode,
        "image/jls": imagecodecs.jpegls_decode,
        "image/jp2": imagecodecs.jpeg2k_decode,
        "image/jpeg": imagecodecs.ljpeg_decode,
    }
    for media_type, decode in decoders.items():
        answer = await world.web.get(FRAME.format(1), headers={"Accept": f'multipart/related; type="{media_type}"'})
        ((content_type, body),) = parts(answer)
        assert content_type.startswith(media_type)
        assert np.array_equal(np.asarray(decode(body)).view(np.int16), pixels_of(1)), media_type
    for unknown in ("image/gif", "application/dicom+json", 'multipart/related; type="image/dicom-rle"'):
        assert (await world.web.get(FRAME.format(1), headers={"Accept": unknown})).status_code == 406


async def test_packed_frame_is_given_as_htj2k_or_decoded(world: World) -> None:
    file = make(1)
    instance = check_instance(file)
    ((start, size),) = instance.frames[0]
    encoded = bytes(imagecodecs.htj2k_encode(pixels_of(1), reversible=True, tlm=True))
    entry = file[:start] + encoded + file[start + size :]
    await world.store.put("archive", "k.pack", b"x" * 7 + entry)
    world.index(
        instance,
        "community",
        {"bucket": "archive", "key": "k.pack", "encoding": "htj2k", "offset": 7, "length": len(entry),
         "original_length": len(file), "frames": [[(7 + start, len(encoded))]], "head_length": start,
         "tail_length": len(file) - start - size, "frame_transfer_syntax_uid": "1.2.840.10008.1.2.4.202",
         "native_frame_length": size, "signed": True},
    )  # fmt: skip
    answer = await world.web.get(FRAME.format(1), headers=ANY)
    assert parts(answer) == [("image/jphc; transfer-syntax=1.2.840.10008.1.2.4.202", encoded)]
    assert answer.headers["imaging-stored-in"] == "archive"
    assert parts(await world.web.get(FRAME.format(1), headers=LITTLE))[0][1] == pixels_of(1).tobytes()
    answer = await world.web.get("/studies/1.2.3", headers={"Accept": 'multipart/related; type="application/dicom"'})
    assert [body for _, body in parts(answer)] == [file]
    picture = await world.web.get(FRAME.format(1) + "/rendered", headers={"Accept": "image/png"})
    assert Image.open(io.BytesIO(picture.content)).size == (64, 64)


async def test_bytes_are_found_again_when_they_moved_to_the_archive(world: World) -> None:
    (instance,) = await world.add([make(1)])
    assert (await world.web.get(FRAME.format(1), headers=ANY)).status_code == 200
    ((bucket, key),) = world.store.objects
    await world.store.put("archive", "moved.pack", world.store.objects[bucket, key])
    document = world.reader.collections["instances"]["community/1.2.3/1.2.3.1.1"]
    world.reader.put(
        "instances", {**document, "location": {**document["location"], "bucket": "archive", "key": "moved.pack"}}
    )
    await world.store.delete(bucket, key)
    answer = await world.web.get(FRAME.format(1), headers=ANY)
    assert (answer.status_code, answer.headers["imaging-stored-in"]) == (200, "archive")
    files = await world.web.get("/studies/1.2.3/series/1.2.3.1/instances/1.2.3.1.1")
    assert hashlib.sha256(parts(files)[0][1]).hexdigest() == instance.sha256


async def test_files_come_back_as_they_were_received(world: World) -> None:
    files = [make(n) for n in range(1, 5)]
    await world.add(files)
    for path in ("/studies/1.2.3", "/studies/1.2.3/series/1.2.3.1"):
        answer = await world.web.get(path, headers={"Accept": 'multipart/related; type="application/dicom"'})
        assert [body for _, body in parts(answer)] == files
    single = await world.web.get(
        "/studies/1.2.3/series/1.2.3.1/instances/1.2.3.1.3", headers={"Accept": "application/dicom"}
    )
    assert single.content == files[2]
    assert (await world.web.get("/studies/1.2.3", headers={"Accept": "image/jpeg"})).status_code == 406
    transcoded = 'multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.4.50'
    assert (await world.web.get("/studies/1.2.3", headers={"Accept": transcoded})).status_code == 406


async def test_series_metadata_is_joined_with_usable_bulk_addresses(world: World) -> None:
    await world.add([make(1), make(2)])
    url = "/studies/1.2.3/series/1.2.3.1/metadata"
    answer = await world.web.get(url, headers=JSON)
    first, second = answer.json()
    assert [first["00200013"]["Value"], second["00200013"]["Value"]] == [[1], [2]]
    address = first["7FE00010"]["BulkDataURI"]
    assert address == "/dicomweb/studies/1.2.3/series/1.2.3.1/bulkdata/1.2.3.1.1/7FE00010"
    bulk = await world.web.get(address.removeprefix("/dicomweb"), headers={"Accept": "application/octet-stream"})
    assert bulk.content == pixels_of(1).tobytes()
    assert answer.headers["content-encoding"] == "gzip"
    again = await world.web.get(url, headers={**JSON, "If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304
    plain = await world.web.get(url, headers={**JSON, "Accept-Encoding": "identity"})
    assert plain.json() == answer.json()
    assert (await world.web.get("/studies/1.2.3/metadata")).json() == answer.json()
    assert (await world.web.get("/studies/1.2.3/series/1.2.3.1/instances/1.2.3.1.2/metadata")).json() == [second]


DECODED = (
    "CT_small.dcm",
    "JPEG2000.dcm",
    "JPGExtended.dcm",
    "MR_small_RLE.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_implicit.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "SC_rgb_jpeg_dcmtk.dcm",
    "SC_rgb_rle_16bit_2frame.dcm",
    "SC_rgb_small_odd.dcm",
    "SC_rgb_small_odd_jpeg.dcm",
    "examples_jpeg2k.dcm",
    "examples_overlay.dcm",
    "examples_palette.dcm",
    "examples_rgb_color.dcm",
    "examples_ybr_color.dcm",
    "liver_1frame.dcm",
    "liver_expb_1frame.dcm",
    "SC_rgb_small_odd_big_endian.dcm",
)


async def test_samples_are_decoded_and_shown(world: World) -> None:
    for name in DECODED:
        path = SAMPLES / name
        (instance,) = await world.add([path.read_bytes()])
        base = f"/studies/{instance.study_uid}/series/{instance.series_uid}/instances/{instance.sop_instance_uid}"
        little = await world.web.get(f"{base}/frames/1", headers=LITTLE)
        assert little.status_code == 200, little.text
        dataset = pydicom.dcmread(path)
        compressed = dataset.file_meta.TransferSyntaxUID.is_compressed
        if dataset.BitsAllocated > 1 and (compressed or not dataset.PhotometricInterpretation.startswith("YBR")):
            expected = (
                imagecodecs.jpeg_decode(pydicom.encaps.get_frame(dataset.PixelData, 0))
                if name == "JPGExtended.dcm"
                else np.asarray(pydicom.pixels.pixel_array(path, index=0))
            )
            assert parts(little)[0][1] == expected.astype(expected.dtype.newbyteorder("<")).tobytes()
        assert (await world.web.get(f"{base}/frames/1", headers=ANY)).status_code == 200
        shown = await world.web.get(
            f"{base}/rendered", params={"viewport": "100,100"}, headers={"Accept": "image/jpeg"}
        )
        assert shown.status_code == 200, shown.text
        assert max(Image.open(io.BytesIO(shown.content)).size) == 100
        small = await world.web.get(f"{base}/thumbnail")
        assert len(small.content) < 20_000


async def test_no_sample_breaks_the_server(world: World) -> None:
    taken = 0
    for path in sorted(SAMPLES.glob("*.dcm")):
        try:
            (instance,) = await world.add([path.read_bytes()])
        except RejectedInstance:
            continue
        base = f"/studies/{instance.study_uid}/series/{instance.series_uid}/instances/{instance.sop_instance_uid}"
        for resource in ("frames/1", "frames/1,2", "rendered", "metadata", ""):
            answer = await world.web.get(f"{base}/{resource}".rstrip("/"))
            assert answer.status_code in (200, 404, 406), (path.name, resource, answer.status_code)
        await world.web.get("/studies?includefield=all")
        taken += 1
    assert taken > 50


async def test_window_changes_what_is_shown(world: World) -> None:
    await world.add([make(1)])
    url = FRAME.format(1) + "/rendered"
    means = []
    for window in ("0,100,linear", "-200,100,linear-exact", "200,100,sigmoid"):
        answer = await world.web.get(url, params={"window": window}, headers={"Accept": "image/png"})
        means.append(np.asarray(Image.open(io.BytesIO(answer.content))).mean())
    assert means[1] > means[0] > means[2]
    for wrong in ("window=1", "window=0,0,linear", "viewport=0,9", "viewport=99999,1", "quality=0"):
        assert (await world.web.get(f"{url}?{wrong}")).status_code == 400, wrong


@pytest.mark.parametrize("path", ["frames/0", "frames/x", "frames/2", "frames/1,2", "frames/-1"])
async def test_frame_is_refused_when_it_is_not_there(world: World, path: str) -> None:
    await world.add([make(1)])
    answer = await world.web.get(f"/studies/1.2.3/series/1.2.3.1/instances/1.2.3.1.1/{path}", headers=ANY)
    assert answer.status_code == (404 if "2" in path else 400)
