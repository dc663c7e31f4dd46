"""Break-glass: a reason, one resident, an hour at most, and written down before anything is open."""

from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.model import recipients_of, tells
from imaging_common.access import Subject
from imaging_common.auth import Claims
from imaging_common.errors import PublishFailed
from imaging_common.events import AccessEnded, AccessGranted

JSON = {"Accept": "application/dicom+json"}
FORM = {"resident": "R-1", "reason": "急诊昏迷，需要既往头颅影像", "minutes": "30", "sure": "yes"}


@pytest.fixture
def foreign(world: Any) -> Any:
    """A resident's study at a hospital that is not the doctor's."""
    world.add_study("1.2.3", "secondary", resident_id="R-1")
    return world


async def test_broken_glass_opens_the_resident_until_it_is_closed(foreign: Any) -> None:
    async with aclosing(await foreign.signed_in()) as browser:
        csrf = {"csrf": foreign.csrf()}
        assert (await browser.get("/dicomweb/studies/1.2.3/series", headers=JSON)).status_code == 404
        answer = await browser.post("/portal/break-glass", data=FORM | csrf)
        assert (answer.status_code, answer.headers["location"]) == (303, "/portal/studies")
        assert (await browser.get("/dicomweb/studies/1.2.3/series", headers=JSON)).status_code == 204
        assert 'data-testid="glass-banner"' in (await browser.get("/portal/break-glass/banner")).text
        (grant,) = foreign.access_grants.grants.values()
        ended = await browser.post(f"/portal/break-glass/{grant.grant_id}/end", data=csrf)
        assert ended.status_code == 303
        assert (await browser.get("/dicomweb/studies/1.2.3/series", headers=JSON)).status_code == 404
        assert (await browser.post(f"/portal/break-glass/{grant.grant_id}/end", data=csrf)).status_code == 404
        assert "glass-banner" not in (await browser.get("/portal/break-glass/banner")).text
    act = next(record for record in foreign.audited if record.action == "break-glass")
    assert (act.outcome, act.resident_id, act.purpose, act.grant_id) == (
        "success",
        "R-1",
        FORM["reason"],
        grant.grant_id,
    )
    assert {r.reason for r in foreign.audited if r.study_uid == "1.2.3" and r.outcome == "success"} == {"break-glass"}
    assert [type(event) for event in foreign.access_grants.announced] == [AccessGranted, AccessEnded]
    assert "R-1" not in foreign.access_grants.announced[0].model_dump_json()


@pytest.mark.parametrize(
    "wrong", [{"reason": "too short"}, {"minutes": "61"}, {"minutes": "0"}, {"sure": ""}, {"resident": "R 1"}]
)
async def test_nothing_is_open_when_the_form_does_not_hold(foreign: Any, wrong: dict[str, str]) -> None:
    async with aclosing(await foreign.signed_in()) as browser:
        answer = await browser.post("/portal/break-glass", data={**FORM, **wrong, "csrf": foreign.csrf()})
    assert answer.status_code == 422
    assert 'data-testid="problem"' in answer.text
    assert foreign.access_grants.grants == {}


async def test_unknown_resident_opens_nothing_and_is_written_down(foreign: Any) -> None:
    async with aclosing(await foreign.signed_in()) as browser:
        answer = await browser.post("/portal/break-glass", data={**FORM, "resident": "R-9", "csrf": foreign.csrf()})
    assert answer.status_code == 422
    assert (foreign.audited[-1].action, foreign.audited[-1].outcome) == ("break-glass", "failed")
    assert foreign.access_grants.grants == {}


async def test_nothing_is_open_when_it_cannot_be_written_down(foreign: Any) -> None:
    async with aclosing(await foreign.signed_in()) as browser:
        foreign.publisher.fail_with = PublishFailed("away")
        answer = await browser.post("/portal/break-glass", data={**FORM, "csrf": foreign.csrf()})
    assert answer.status_code == 503
    assert foreign.access_grants.grants == {}


async def test_who_has_no_image_role_breaks_no_glass(foreign: Any) -> None:
    async with aclosing(await foreign.signed_in("auditor.region")) as browser:
        answer = await browser.post("/portal/break-glass", data={**FORM, "csrf": foreign.csrf("auditor.region")})
    assert answer.status_code == 403
    assert foreign.access_grants.grants == {}


async def test_outside_experts_break_no_glass(foreign: Any) -> None:
    entry = foreign.registry.entries["community"]
    foreign.registry.entries["community"] = entry.model_copy(update={"level": "outside"})
    async with aclosing(await foreign.signed_in()) as browser:
        answer = await browser.post("/portal/break-glass", data={**FORM, "csrf": foreign.csrf()})
    assert answer.status_code == 403
    assert (foreign.audited[-1].action, foreign.audited[-1].outcome) == ("break-glass", "denied")
    assert foreign.access_grants.grants == {}


async def test_form_knows_what_was_searched_for_in_vain(foreign: Any) -> None:
    async with aclosing(await foreign.signed_in()) as browser:
        listed = await browser.post("/portal/studies/search", data={"csrf": foreign.csrf(), "words": "R-1"},
                                    headers={"HX-Request": "true"})  # fmt: skip
        assert '"/portal/break-glass"' in listed.text
        assert 'name="resident" value="R-1"' in (await browser.get("/portal/break-glass")).text


def test_own_pages_learn_of_a_grant_and_no_others() -> None:
    now = datetime.now(UTC)
    event = AccessGranted(grant_id="g", kind="launch", user="dr.zhao", granted_by="ehr-residents", at=now, until=now)
    names = [tells(Subject(user, "", frozenset({"doctor"})), event) for user in ("dr.zhao", "dr.wu")]
    assert names == [["studies", "glass"], []]


def test_privacy_officers_are_told_as_a_role_of_the_region() -> None:
    assert "region:auditor" in recipients_of(Claims("auditor.region", "", frozenset({"auditor"})))
