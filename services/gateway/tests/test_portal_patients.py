"""One person across hospitals: what the page shows, to whom, and that no address says who it is."""

import re
from typing import Any

import pytest

from gateway.usecases.search_studies import StudySearch, part_group
from gateway.web.patient_keys import PatientKeys, PatientRef

MINE = {"id": "P-001", "issuer": "", "name": {"alphabetic": "Zhang^Wei"}, "birth_date": "19700601", "sex": "M"}


@pytest.fixture
def record(world: Any) -> Any:
    """A resident with two ids, studied at two hospitals, of which one study is a case's."""
    world.reader.put("merges", {"_id": "R-0", "into": "R-1", "revision": 1})
    world.add_study("1.2.1", resident_id="R-1", study_date="20261120", report_count=1)
    world.add_study("1.2.2", resident_id="R-0", study_date="20250301", modalities=["MR"], body_parts=["BRAIN"])
    world.add_study("1.2.9", patient={**MINE, "id": "P-009"}, study_date="20261119")
    world.add_study("9.9.1", holder="secondary", resident_id="R-1", study_date="20240101", tier="distributed")
    for study, holder, online in (("1.2.1", "community", 3), ("9.9.1", "secondary", 0)):
        world.reader.put(
            "series",
            {"_id": f"{holder}/{study}/{study}.1", "study_uid": study, "series_uid": f"{study}.1", "holder": holder,
             "modality": "CT", "series_number": 1, "description": "平扫", "instance_count": 3, "online_count": online,
             "study_key": f"{holder}/{study}"},
        )  # fmt: skip
    return world


async def opened(world: Any, browser: Any, study: str) -> str:
    """The address of a study's person, from the study list."""
    row = (await browser.get("/portal/studies")).text.partition(f'data-study="{study}"')[2]
    found = re.search(r'href="(/portal/patients/[\w-]+)"', row)
    assert found is not None
    return found[1]


async def test_record_shows_what_the_reader_may_see_by_year_with_merged_ids(record: Any) -> None:
    browser = await record.signed_in()
    address = await opened(record, browser, "1.2.1")
    assert "R-1" not in address
    assert "P-001" not in address
    page = (await browser.get(address)).text
    assert re.findall(r'data-testid="entry" data-study="([\d.]+)"', page) == ["1.2.1", "1.2.2"]
    assert re.findall(r"<h2>(\d{4})</h2>", page) == ["2026", "2025"]
    assert 'data-testid="resident">R-1<' in page
    assert 'data-testid="merged">R-0<' in page
    assert "/dicomweb/hospitals/community/studies/1.2.1/series/1.2.1.1/thumbnail" in page
    assert [e.resident_id for e in record.audited if e.reason == "patient"] == ["R-1"]
    assert await opened(record, browser, "1.2.2") != ""
    both = [await opened(record, browser, study) for study in ("1.2.1", "1.2.1")]
    assert both == [address, address]


async def test_foreign_study_appears_once_a_grant_opens_it_and_its_pixels_are_not_fetched(record: Any) -> None:
    expert = await record.signed_in("expert.secondary")
    page = (await expert.get(await opened(record, expert, "9.9.1"))).text
    assert re.findall(r'data-study="([\d.]+)"', page) == ["9.9.1"]
    assert 'data-testid="elsewhere"' in page
    assert "/thumbnail" not in page


async def test_unlinked_patient_has_a_record_of_one_hospital_and_a_hint(record: Any) -> None:
    browser = await record.signed_in()
    page = (await browser.get(await opened(record, browser, "1.2.9"))).text
    assert 'data-testid="not-linked"' in page
    assert re.findall(r'data-testid="entry" data-study="([\d.]+)"', page) == ["1.2.9"]


async def test_filters_leave_what_was_asked_for(record: Any) -> None:
    browser = await record.signed_in()
    address = await opened(record, browser, "1.2.1")
    for query, wanted in (("modality=MR", ["1.2.2"]), ("part=CHEST", ["1.2.1"]), ("modality=XX", ["1.2.1", "1.2.2"])):
        page = (await browser.get(f"{address}?{query}")).text
        assert re.findall(r'data-testid="entry" data-study="([\d.]+)"', page) == wanted
    assert 'data-testid="empty"' in (await browser.get(f"{address}?modality=MR&part=CHEST")).text


async def test_two_studies_stand_side_by_side_and_no_others(record: Any) -> None:
    browser = await record.signed_in()
    address = await opened(record, browser, "1.2.1")
    page = await browser.get(f"{address}/compare?ref=community/1.2.1&ref=community/1.2.2")
    assert re.findall(r'src="/viewer\?StudyInstanceUIDs=([\d.]+)', page.text) == ["1.2.2", "1.2.1"]
    assert (await browser.get(f"{address}/compare?ref=community/1.2.1")).status_code == 422
    assert (await browser.get(f"{address}/compare?ref=community/1.2.1&ref=community/1.2.9")).status_code == 404


async def test_address_of_another_session_names_nobody(record: Any) -> None:
    first, second = await record.signed_in(), await record.signed_in("expert.secondary")
    address = await opened(record, first, "1.2.1")
    assert (await second.get(address)).status_code == 404
    assert (await first.get(address[:-2] + "AA")).status_code == 404
    assert (await first.get("/portal/patients/%E5%BC%A0")).status_code == 404


def test_keys_are_read_by_every_copy_with_the_same_secret(world: Any) -> None:
    session = type("S", (), {"key": "k"})()
    key = PatientKeys("secret").write(session, PatientRef(patient_key="community^P 1"))
    assert PatientKeys("secret").read(session, key) == PatientRef(patient_key="community^P 1")
    assert PatientKeys("another").read(session, key) is None


async def test_study_list_is_searched_by_body_part_in_its_many_words(world: Any) -> None:
    world.add_study("1.2.3", body_parts=["LUNG"])
    world.add_study("1.2.4", body_parts=["KNEE"])
    browser = await world.signed_in()
    form = {"csrf": world.csrf(), "body_part": "CHEST"}
    page = (await browser.post("/portal/studies/search", data=form, headers={"HX-Request": "true"})).text
    assert re.findall(r'data-testid="study-row" data-study="([\d.]+)"', page) == ["1.2.3"]
    assert 'name="body_part" value="CHEST" checked' in (await browser.get("/portal/studies")).text
    assert part_group("KNEE") == "LOWEREXTREMITY"
    assert StudySearch.read({"body_part": "'; drop"}).body_part == ""
