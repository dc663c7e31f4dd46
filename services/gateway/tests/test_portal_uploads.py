"""Uploads: who may, for which hospital, what is there already, and how each instance's fate is told."""

from typing import Any

import pytest

from gateway.errors import IngestRefused, IngestUnavailable
from imaging_common.auth import Claims

BATCH = b"--b\r\nContent-Type: application/dicom\r\n\r\nDICM\r\n--b--\r\n"
TYPE = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=b'}
URL = "https://portal/dicomweb/hospitals/community/studies/1.2.3/series/1.2.4/instances/1.2.5"
OPERATOR = Claims("operator.community", "community", frozenset({"hospital-operator"}), "吴运维")


def answer() -> dict[str, Any]:
    """One instance stored, one refused for its transfer syntax, one that could not be read."""
    return {
        "00081199": {"Value": [{"00081155": {"Value": ["1.2.5"]}, "00081190": {"Value": [URL]}}]},
        "00081198": {"Value": [{"00081155": {"Value": ["1.2.6"]}, "00081197": {"Value": [0xC122]}}]},
        "0008119A": {"Value": [{"00081197": {"Value": [0xC000]}, "00000902": {"Value": ["no header"]}}]},
    }


async def test_batch_goes_through_to_the_ingest_for_the_own_hospital_and_is_recorded(world: Any) -> None:
    world.door.answer = answer()
    browser = await world.signed_in()
    done = await browser.post("/portal/uploads/batch", content=BATCH, headers={**TYPE, "X-CSRF-Token": world.csrf()})
    assert world.door.came == [("community", TYPE["Content-Type"], BATCH, "doctor.community")]
    assert done.json()["stored"] == {"1.2.5": "1.2.3"}
    assert [(one["sop"], one["text"]) for one in done.json()["refused"]] == [
        ("1.2.6", "compressed in an unsupported way (transfer syntax)"), ("", "not accepted: no header"),
    ]  # fmt: skip
    records = [event for event in world.audited if event.action == "store"]
    assert [(r.outcome, r.study_uid, r.holder, r.count) for r in records] == [
        ("success", "1.2.3", "community", 1), ("denied", None, "community", 2),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("error", "status"), [(IngestUnavailable("away"), 503), (IngestRefused(507), 507), (IngestRefused(400), 502)]
)
async def test_nothing_is_said_to_be_stored_when_the_ingest_does_not_say_so(
    world: Any, error: Exception, status: int
) -> None:
    world.door.error = error
    browser = await world.signed_in(**{"Accept": "application/json"})
    headers = {**TYPE, "X-CSRF-Token": world.csrf()}
    assert (await browser.post("/portal/uploads/batch", content=BATCH, headers=headers)).status_code == status
    assert [event for event in world.audited if event.action == "store"] == []


async def test_only_people_of_a_hospital_upload_and_denials_are_recorded(world: Any) -> None:
    world.provider.people[OPERATOR.user] = OPERATOR
    for user in ("auditor.region", "operator.region"):
        browser = await world.signed_in(user)
        assert (await browser.get("/portal/uploads")).status_code == 403
        headers = {**TYPE, "X-CSRF-Token": world.csrf(user)}
        assert (await browser.post("/portal/uploads/batch", content=BATCH, headers=headers)).status_code == 403
    assert {(e.user, e.outcome, e.reason) for e in world.audited if e.action == "store"} == {
        (user, "denied", "may-not-upload") for user in ("auditor.region", "operator.region")
    }
    assert world.door.came == []
    page = await (await world.signed_in(OPERATOR.user)).get("/portal/uploads")
    assert "Patient ids in these images count as Tangqiao&#39;s." in page.text


async def test_batch_needs_the_token_a_length_and_the_media_type(world: Any) -> None:
    browser = await world.signed_in()
    assert (await browser.post("/portal/uploads/batch", content=BATCH, headers=TYPE)).status_code == 403
    headers = {"X-CSRF-Token": world.csrf()}
    assert (await browser.post("/portal/uploads/batch", content=b"x", headers=headers)).status_code == 415
    world.portal.settings.upload_batch_bytes = 10
    assert (await browser.post("/portal/uploads/batch", content=BATCH, headers={**TYPE, **headers})).status_code == 413
    assert world.door.came == []


async def test_what_the_own_hospital_has_byte_for_byte_is_not_sent_again(world: Any) -> None:
    digest, other = "a" * 64, "b" * 64
    for holder, uid in (("community", "1.2.5"), ("secondary", "1.2.7")):
        world.add_study("1.2.3", holder=holder)
        world.reader.put(
            "instances",
            {"_id": f"{holder}/1.2.3/{uid}", "holder": holder, "study_key": f"{holder}/1.2.3", "sha256": digest,
             "sop_instance_uid": uid, "digests": [digest], "location": {"bucket": "staging"}},
        )  # fmt: skip
    browser = await world.signed_in()
    headers = {"X-CSRF-Token": world.csrf()}
    asked = [["1.2.5", digest], ["1.2.7", digest], ["1.2.8", digest], ["x", digest]]
    known = await browser.post("/portal/uploads/known", json={"instances": asked}, headers=headers)
    assert known.json() == {"known": ["1.2.5"]}
    changed = await browser.post("/portal/uploads/known", json={"instances": [["1.2.5", other]]}, headers=headers)
    assert changed.json() == {"known": []}
    assert (await browser.post("/portal/uploads/known", json={"a": 1}, headers=headers)).status_code == 422


async def test_uploaded_studies_are_shown_once_the_index_has_them(world: Any) -> None:
    browser = await world.signed_in()
    form = {"csrf": world.csrf(), "study": ["1.2.3", "9.9.9"]}
    assert "data-missing" in (await browser.post("/portal/uploads/studies", data=form)).text
    world.add_study("1.2.3")
    world.add_study("9.9.9", holder="secondary")
    shown = (await browser.post("/portal/uploads/studies", data=form)).text
    assert 'data-study="1.2.3"' in shown
    assert "9.9.9" not in shown
