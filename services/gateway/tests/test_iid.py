"""IHE Invoke Image Display (RAD-106): to the viewer, by the access rule, with no patient's id in a redirect."""

from contextlib import aclosing
from typing import Any

import httpx
import pytest

PATH = "/IHEInvokeImageDisplay"


@pytest.fixture
def known(world: Any) -> Any:
    """A patient with three studies at the own hospital, a resident with one of them and one elsewhere."""
    for number, day in enumerate(("20261101", "20261110", "20261120"), 1):
        world.add_study(f"1.2.{number}", "community", study_date=day, accession=f"A-{number}", resident_id="R-1")
    world.add_study("1.2.9", "secondary", accession="A-9", resident_id="R-1")
    return world


def shown(answer: httpx.Response) -> list[str]:
    """The studies of the viewer the browser is sent to."""
    assert answer.status_code == 303, answer.text
    url = httpx.URL(answer.headers["location"])
    assert url.path == "/viewer"
    return str(url.params["StudyInstanceUIDs"]).split(",")


@pytest.mark.parametrize(
    ("query", "studies"),
    [
        ({"requestType": "STUDY", "studyUID": "1.2.1"}, ["1.2.1"]),
        ({"requestType": "STUDY", "accessionNumber": "A-2,A-9"}, ["1.2.2"]),
        ({"requestType": "PATIENT", "patientID": "R-1"}, ["1.2.3", "1.2.2", "1.2.1"]),
        ({"requestType": "PATIENT", "patientID": "R-1^^^EHR", "mostRecentResults": "1"}, ["1.2.3"]),
        ({"requestType": "PATIENT", "patientID": "P-001^^^&community&L"}, ["1.2.3", "1.2.2", "1.2.1"]),
        (
            {
                "requestType": "PATIENT", "patientID": "R-1", "lowerDateTime": "2026-11-10T09:00:00",
                "upperDateTime": "2026-11-20T09:00:00", "viewerType": "IHE_BIR", "diagnosticQuality": "true",
            },
            ["1.2.2"],
        ),
    ],
)  # fmt: skip
async def test_request_shows_what_the_reader_may_see(known: Any, query: dict[str, str], studies: list[str]) -> None:
    async with aclosing(await known.signed_in()) as browser:
        assert shown(await browser.get(PATH, params=query)) == studies
    assert known.audited[-1].reason == "invoke-image-display"


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({}, 400),
        ({"requestType": "SERIES"}, 400),
        ({"requestType": "STUDY"}, 400),
        ({"requestType": "STUDY", "studyUID": "1.2.1", "accessionNumber": "A-1"}, 400),
        ({"requestType": "STUDY", "studyUID": "../../x"}, 400),
        ({"requestType": "PATIENT"}, 400),
        ({"requestType": "PATIENT", "patientID": "R-1", "mostRecentResults": "none"}, 400),
        ({"requestType": "PATIENT", "patientID": "R-1", "lowerDateTime": "yesterday"}, 400),
        ({"requestType": "PATIENT", "patientID": "R-1", "viewerType": "PLUG_IN"}, 406),
        ({"requestType": "STUDY", "studyUID": "1.2.9"}, 404),
        ({"requestType": "PATIENT", "patientID": "P-001^^^secondary"}, 404),
        ({"requestType": "PATIENT", "patientID": "nobody"}, 404),
    ],
)
async def test_request_that_cannot_be_shown_says_why(known: Any, query: dict[str, str], status: int) -> None:
    async with aclosing(await known.signed_in()) as browser:
        assert (await browser.get(PATH, params=query)).status_code == status
        program = await browser.get(PATH, params=query, headers={"Accept": "application/json"})
    assert program.headers["content-type"] == "application/problem+json"


async def test_request_waits_for_the_sign_in_and_stands_in_no_address(known: Any) -> None:
    addresses = []
    async with known.browser() as browser:
        answer = await browser.get(PATH, params={"requestType": "PATIENT", "patientID": "R-1"})
        addresses.append(answer.headers["location"])
        begun = await browser.get(answer.headers["location"])
        state = httpx.URL(begun.headers["location"]).params["state"]
        back = await browser.get("/auth/callback", params={"state": state, "code": "doctor.community"})
        addresses.append(back.headers["location"])
        assert shown(await browser.get(back.headers["location"])) == ["1.2.3", "1.2.2", "1.2.1"]
        assert (await browser.get(back.headers["location"])).status_code == 400
    assert not any("R-1" in address for address in addresses)
    assert known.sessions.sign_ins == {}


async def test_who_has_no_image_role_is_shown_nothing(known: Any) -> None:
    async with aclosing(await known.signed_in("auditor.region")) as browser:
        answer = await browser.get(PATH, params={"requestType": "STUDY", "studyUID": "1.2.1"})
    assert answer.status_code == 403
