"""The operators' page of subscriptions, and the EHR's own feed through the gateway."""

from typing import Any

import httpx
import pytest

from gateway.adapters.systems import HttpSystems
from gateway.errors import SystemsRefused, SystemsUnavailable

OPERATOR = "operator.region"
ID = "a" * 32
ONE: dict[str, Any] = {
    "id": ID, "number": "S-aaaaaaaa", "organisation": "residents", "url": "https://ehr.example/hook", "types": [],
    "description": "居民健康档案", "revision": 1, "state": "active", "cursor": 7, "lag": 2, "failures": 0,
    "waiting_since": "2026-11-28T08:00:00+00:00", "failing_since": None, "next_attempt_at": None, "last_status": 204,
    "last_error": "", "last_answer_at": None, "last_success_at": None,
}  # fmt: skip
FEED = {
    "id": "residents", "hospitals": ["community"], "revision": 1, "topic": "ehr-residents-events", "newest": 9,
    "oldest": 1, "published": 8, "snapshots": [{"kind": "hospitals", "put": 3, "created_at": "", "done_at": None}],
}  # fmt: skip


def prepare(world: Any, **change: Any) -> dict[str, Any]:
    """The notification service knows one subscription."""
    one = {**ONE, **change}
    world.systems.answers |= {
        "GET /organisations": [FEED],
        "GET /subscriptions": [one],
        f"GET /subscriptions/{ID}": one,
        f"GET /subscriptions/{ID}/deliveries": [],
    }
    return one


async def test_operator_sees_who_gets_what_and_how_far_they_are_behind(world: Any) -> None:
    prepare(world, state="failing", failures=4, last_status=500)
    browser = await world.signed_in(OPERATOR)
    page = (await browser.get("/portal/subscriptions")).text
    for shown in ("S-aaaaaaaa", 'data-state="failing"', "ehr-residents-events", "4 failures in a row"):
        assert shown in page
    detail = (await browser.get(f"/portal/subscriptions/{ID}")).text
    assert "2 events" in detail
    assert 'data-testid="enable"' in detail


async def test_secret_is_shown_once(world: Any) -> None:
    one = prepare(world)
    world.systems.answers["POST /subscriptions"] = {**one, "secret": "whsec_once"}
    browser = await world.signed_in(OPERATOR)
    form = {"csrf": world.csrf(OPERATOR), "url": one["url"], "organisation": "residents", "types": "ReportIssued"}
    made = await browser.post("/portal/subscriptions", data=form)
    assert "whsec_once" in made.text
    assert made.headers["cache-control"] == "no-store"
    asked = dict(world.systems.asked)["POST /subscriptions"]
    assert (asked["types"], asked["start"]) == (["ReportIssued"], "now")
    assert "whsec_once" not in (await browser.get(f"/portal/subscriptions/{ID}")).text


async def test_refusal_is_told_beside_what_was_entered(world: Any) -> None:
    prepare(world)
    world.systems.answers["POST /subscriptions"] = SystemsRefused(422, "the host is inside of the region")
    browser = await world.signed_in(OPERATOR)
    form = {"csrf": world.csrf(OPERATOR), "url": "https://10.0.0.1/x", "organisation": "residents"}
    answer = await browser.post("/portal/subscriptions", data=form)
    assert answer.status_code == 422
    assert "the host is inside of the region" in answer.text
    assert 'value="https://10.0.0.1/x"' in answer.text


@pytest.mark.parametrize(
    ("form", "body"),
    [({"seq": "5"}, {"seq": 5}), ({"since": "2026-11-28T16:00"}, {"since": "2026-11-28T08:00:00+00:00"}), ({}, {})],
)
async def test_replay_is_asked_for_in_the_regions_time(world: Any, form: dict[str, str], body: Any) -> None:
    prepare(world)
    world.systems.answers[f"POST /subscriptions/{ID}/replay"] = {"cursor": 4}
    browser = await world.signed_in(OPERATOR)
    answer = await browser.post(f"/portal/subscriptions/{ID}/replay", data={"csrf": world.csrf(OPERATOR), **form})
    assert answer.status_code == 200
    assert dict(world.systems.asked)[f"POST /subscriptions/{ID}/replay"] == body


async def test_test_event_says_what_was_answered(world: Any) -> None:
    prepare(world)
    outcome = {"status": None, "error": "ConnectError", "milliseconds": 3}
    world.systems.answers[f"POST /subscriptions/{ID}/test"] = outcome
    browser = await world.signed_in(OPERATOR)
    page = (await browser.post(f"/portal/subscriptions/{ID}/test", data={"csrf": world.csrf(OPERATOR)})).text
    assert "ConnectError (3 ms)" in page


async def test_organisation_that_was_changed_meanwhile_is_not_overwritten(world: Any) -> None:
    prepare(world)
    world.systems.answers["PUT /organisations/residents"] = SystemsRefused(409, "changed meanwhile")
    browser = await world.signed_in(OPERATOR)
    form = {"csrf": world.csrf(OPERATOR), "id": "residents", "revision": "1", "hospitals": ["community", "tcm"]}
    assert (await browser.post("/portal/subscriptions/organisations", data=form)).status_code == 409
    world.systems.answers["POST /organisations"] = FEED
    new = {"csrf": world.csrf(OPERATOR), "id": "county", "hospitals": "secondary"}
    assert (await browser.post("/portal/subscriptions/organisations", data=new)).status_code == 303
    assert dict(world.systems.asked)["POST /organisations"] == {"id": "county", "hospitals": ["secondary"]}


async def test_operator_is_told_what_is_no_longer_kept_and_was_not_delivered(world: Any) -> None:
    prepare(world, cursor=2)
    world.systems.answers["GET /organisations"] = [{**FEED, "oldest": 6}]
    page = (await (await world.signed_in(OPERATOR)).get(f"/portal/subscriptions/{ID}")).text
    assert "Numbers 3 to 5 are no longer kept" in page


async def test_subscription_that_is_not_there_is_404(world: Any) -> None:
    prepare(world)
    browser = await world.signed_in(OPERATOR)
    for name in ("b" * 32, "organisations"):
        assert (await browser.get(f"/portal/subscriptions/{name}")).status_code == 404


async def test_ehr_reads_its_own_feed(world: Any) -> None:
    world.systems.answers["GET /feeds/residents/events"] = {"events": [], "next": 7, "oldest": 1, "newest": 7}
    program = world.browser()
    bearer = {"Authorization": "Bearer bearer-ehr-residents", "Accept": "*/*"}
    answer = await program.get("/ehr/events", params={"after": "7"}, headers=bearer)
    assert answer.json()["next"] == 7
    assert world.systems.asked == [("GET /feeds/residents/events", {"after": "7"})]
    world.systems.answers["GET /feeds/residents/events"] = SystemsRefused(410, "no longer kept", {"oldest": 5})
    gone = await program.get("/ehr/events", params={"after": "1"}, headers=bearer)
    assert (gone.status_code, gone.json()["oldest"]) == (410, 5)
    doctor = {**bearer, "Authorization": "Bearer bearer-doctor.community"}
    assert (await program.get("/ehr/events", params={"after": "1"}, headers=doctor)).status_code == 403


@pytest.mark.parametrize(("status", "error"), [(409, SystemsRefused), (503, SystemsRefused), (500, SystemsUnavailable)])
async def test_service_that_refuses_is_told_from_one_that_is_away(status: int, error: type[Exception]) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(status, json={"detail": "why", "oldest": 3}))
    async with httpx.AsyncClient(base_url="http://n", transport=transport) as client:
        with pytest.raises(error):
            await HttpSystems(client).ask("t", "GET", "/subscriptions")
