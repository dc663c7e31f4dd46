"""The viewer's bar: fidelity, priors, watermark, the full-resolution window, and who may ask."""

import io
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
from fastapi import FastAPI, Request
from PIL import Image

from gateway.dicomweb import build_dicomweb_router
from gateway.settings import GatewaySettings
from gateway.usecases.read_fidelity import read_fidelity
from gateway.web.watermark import check_pattern, watermark_of
from imaging_common.access import SHARE_ROLE, Grant, GrantKind, StudyRef, Subject
from imaging_common.audit import AuditTrail
from imaging_common.index.fake import FakeIndexReader
from imaging_common.messaging import FakePublisher
from imaging_common.objects.store import FakeObjectStore

from .conftest import AUDITOR, EXPERT, World
from .test_dicomweb import SAMPLES
from .test_dicomweb import World as DicomWorld


def add_series(
    reader: FakeIndexReader, key: str = "community/1.2.3", *, encoding: str | None = "original", uid: str = "1.2.3.1",
    modality: str = "CT", count: int = 2, syntax: str = "1.2.840.10008.1.2.1", header: dict[str, Any] | None = None,
) -> None:  # fmt: skip
    """A series, whose instances lie in the centre unless `encoding` is None."""
    holder, study = key.split("/")
    names = {"study_uid": study, "series_uid": uid, "holder": holder, "study_key": key}
    series = {"modality": modality, "instance_count": count, "description": "AX", "facts_from": f"{uid}.0"}
    reader.put("series", {"_id": f"{key}/{uid}", **names, **series})
    for number in range(count):
        sop = f"{uid}.{number}"
        location = None if encoding is None else {"bucket": "archive", "encoding": encoding}
        instance = {"transfer_syntax_uid": syntax, "location": location, "header": orjson.dumps(header or {})}
        reader.put("instances", {"_id": f"{key}/{sop}", **names, "series_key": f"{key}/{uid}", **instance})


LOSSY = {"00282110": {"Value": ["01"]}, "00282112": {"Value": [9.6]}, "00282114": {"Value": ["ISO_10918_1"]}}


@pytest.mark.parametrize(
    ("series", "pixels"),
    [
        ({}, "original"),
        ({"encoding": "htj2k"}, "lossless"),
        ({"encoding": None}, "away"),
        ({"encoding": "htj2k", "header": LOSSY}, "lossy"),
        ({"syntax": "1.2.840.10008.1.2.4.50"}, "lossy"),
        ({"header": {"00282110": {"Value": ["00"]}}}, "original"),
    ],
)
async def test_pixels_are_named_as_they_are(world: World, series: dict[str, Any], pixels: str) -> None:
    world.add_study(online_count=2, instance_count=2)
    add_series(world.reader, **series)
    add_series(world.reader, uid="1.2.3.8", modality="SR", count=1)
    (document,) = await world.reader.index().holders_of("1.2.3")
    assert (await read_fidelity(world.reader.index(), document)).pixels == pixels


@pytest.mark.parametrize(
    ("facts", "complete"),
    [
        ({"settled": True, "online_count": 2}, True),
        ({"settled": False, "online_count": 2}, False),
        ({"settled": True, "online_count": 1}, False),
        ({"settled": True, "online_count": 2, "announced_count": 3}, False),
        ({"settled": True, "online_count": 2, "announced_count": 3, "rejected": [{"sop": "1"}]}, False),
    ],
)
async def test_study_is_complete_only_when_all_is_here_and_nothing_is_missing(
    world: World, facts: dict[str, Any], complete: bool
) -> None:
    world.add_study(instance_count=2, **facts)
    (document,) = await world.reader.index().holders_of("1.2.3")
    assert (await read_fidelity(world.reader.index(), document)).complete is complete


async def test_bar_states_fidelity_holder_watermark_and_window(world: World) -> None:
    world.add_study(online_count=2, instance_count=2)
    add_series(world.reader, encoding="htj2k", header=LOSSY)
    browser = await world.signed_in()
    told = (await browser.get("/portal/reading/facts", params={"study": "1.2.3"})).json()
    (study,) = told["studies"]
    chips = {chip["kind"]: chip for chip in study["chips"]}
    assert chips["pixels"]["text"] == "Lossy at source JPEG 9.6:1"
    assert (chips["complete"]["text"], chips["complete"]["value"]) == ("Complete 2/2", "yes")
    assert chips["place"]["text"] == "Tangqiao · centre"
    assert told["watermark"]["text"] == "陈建国 doctor.community {time}"
    (series,) = study["series"]
    assert series["window"] == "/viewer/series?study=1.2.3&series=1.2.3.1&holder=community"
    browser = await world.signed_in()
    page = await browser.get(series["window"])
    assert page.status_code == 200
    assert "unsafe" not in page.headers["content-security-policy"]
    assert 'data-series="1.2.3.1"' in page.text


async def test_priors_of_all_hospitals_are_those_that_the_reader_may_see_same_part_first(world: World) -> None:
    world.add_study("1.1", resident_id="R1", study_date="20261101", body_parts=["HEAD"])
    world.add_study("1.2", resident_id="R1", study_date="20240101", body_parts=["CHEST"])
    world.add_study("1.3", resident_id="R1", study_date="20261120", body_parts=["CHEST"])
    world.add_study("1.4", holder="secondary", resident_id="R1", study_date="20261110")
    world.add_study("1.5", resident_id="R2", study_date="20261110")
    browser = await world.signed_in()
    told = (await browser.get("/portal/reading/priors", params={"study": "1.3"})).json()
    assert [(prior["study"], prior["same"], prior["later"]) for prior in told["priors"]] == [
        ("1.2", True, False),
        ("1.1", False, False),
    ]
    assert ("search", "priors", 2) in {(record.action, record.reason, record.count) for record in world.audited}


async def test_foreign_study_shows_nothing_and_no_image_role_gets_nothing(world: World) -> None:
    world.add_study()
    add_series(world.reader)
    query = {"study": "1.2.3", "series": "1.2.3.1", "holder": "community"}
    browser = await world.signed_in(EXPERT.user)
    assert (await browser.get("/portal/reading/facts", params={"study": "1.2.3"})).json()["studies"] == []
    assert (await browser.get("/portal/reading/priors", params={"study": "1.2.3"})).json()["priors"] == []
    assert (await browser.get("/viewer/series", params=query)).status_code == 404
    browser = await world.signed_in(AUDITOR.user)
    for path in ("/portal/reading/facts", "/portal/reading/priors", "/viewer/series"):
        assert (await browser.get(path, params=query)).status_code == 403


def test_watermark_names_the_reader_once_and_leaves_the_time_to_the_page() -> None:
    subject = Subject("dr.li", "", frozenset({"launch"}))
    assert watermark_of("{name} {user} {hospital} {time}", subject, "李{娜}", "") == "李{娜} dr.li {time}"
    assert watermark_of("{name} {user}", subject, "dr.li", "") == "dr.li"


@pytest.mark.parametrize("pattern", ["{password}", "{0}", "{user.hospital}"])
def test_settings_refuse_a_watermark_that_names_something_else(pattern: str) -> None:
    with pytest.raises(ValueError, match="watermark"):
        GatewaySettings(watermark_text=pattern)
    with pytest.raises(ValueError, match="watermark"):
        check_pattern(pattern)


async def test_picture_that_leaves_by_a_share_link_carries_its_name() -> None:
    """And only such a picture: a reader's own is as it was."""
    reader, store, subjects = FakeIndexReader(), FakeObjectStore(), [Subject("d", "community", frozenset({"doctor"}))]

    async def subject_of(_: Request) -> Subject:
        return subjects[-1]

    app = FastAPI()
    trail = AuditTrail("gateway", FakePublisher())
    app.include_router(build_dicomweb_router(reader.index(), store, subject_of, trail, mark_links=True))
    world = DicomWorld(reader=reader, store=store, app=FastAPI())
    (found,) = await world.add([(SAMPLES / "CT_small.dcm").read_bytes()])
    path = f"/studies/{found.study_uid}/series/{found.series_uid}/instances/{found.sop_instance_uid}/rendered"
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://portal") as web:
        own = await web.get(path, headers={"Accept": "image/png"})
        study = StudyRef(found.study_uid, "community")
        subjects.append(Subject("share-1", "", frozenset({SHARE_ROLE}), (Grant(study, "g", kind=GrantKind.SHARE),)))
        shared = await web.get(path, headers={"Accept": "image/png"})
    assert (own.status_code, shared.status_code) == (200, 200)
    plain, marked = (np.asarray(Image.open(io.BytesIO(answer.content))).astype(int) for answer in (own, shared))
    changed = (plain != marked).mean()
    assert 0.005 < changed < 0.5
    assert abs(plain - marked).max() < 80
