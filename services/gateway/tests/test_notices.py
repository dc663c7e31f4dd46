"""How one is told: the stream of an open page, its own settings, the log for operators."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.api import live
from gateway.api.live import kept_at, notice_event, until_ended
from gateway.errors import SystemsRefused
from gateway.model import KeptNotice
from imaging_common.access import Subject
from imaging_common.events import NoticeRaised

DOCTOR = Subject("doctor.community", "community", frozenset({"doctor"}))
AT = datetime(2026, 11, 24, 1, 2, 3, 456_000, tzinfo=UTC)
NOTICE = NoticeRaised(
    notice_id="n", recipient="user:doctor.community", kind="critical-value", number="C-1", link="/portal/consults/c1",
    raised_at=AT, urgency="emergency",
)  # fmt: skip
CHOSEN: dict[str, Any] = {
    "channels": {"work": ["e-mail"], "progress": [], "reports": ["sms"], "discussion": [], "limits": []},
    "language": "en",
    "quiet": {"start": "23:00:00", "end": "06:30:00"},
}
PREFERENCES = "/notifications/preferences"


def test_notice_has_an_id_from_which_any_copy_goes_on_and_no_personal_data() -> None:
    event = notice_event(KeptNotice(NOTICE, AT))
    assert kept_at(str(event.id)) == AT
    assert set(json.loads(str(event.data))) == {"notice_id", "kind", "number", "link", "urgency"}


@pytest.mark.parametrize("strange", ["", "abc", "1" * 40, "-5", "١٢"])
def test_strange_ids_are_none_of_ours(strange: str) -> None:
    assert kept_at(strange) is None


async def test_stream_tells_notices_and_ends_with_the_session(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(live, "PAUSE_SECONDS", 0.0)
    await world.signed_in()
    (session,) = world.sessions.sessions.values()

    async def subject() -> Subject:
        return DOCTOR

    async with world.live.listen(subject) as listener:
        await world.live.publish(KeptNotice(NOTICE, AT))
        stream = until_ended(world.portal, session, listener)
        assert [(await anext(stream)).event for _ in range(3)] == ["notice", "changed", "changed"]
        await world.sessions.end(session.key)
        assert [event.event async for event in stream] == ["ended"]


async def test_settings_are_shown_and_kept_as_they_were_chosen(world: Any) -> None:
    world.systems.answers = {f"GET {PREFERENCES}": CHOSEN, f"PUT {PREFERENCES}": CHOSEN}
    browser = await world.signed_in()
    page = (await browser.get("/portal/preferences")).text
    assert 'name="work" value="e-mail" checked' in page
    assert 'value="23:00"' in page
    form = {
        "csrf": world.csrf(), "work": ["e-mail", "sms", "pigeon"], "quiet": "yes", "start": "22:00", "end": "07:00",
        "language": "",
    }  # fmt: skip
    assert "Saved" in (await browser.post("/portal/preferences", data=form)).text
    asked = world.systems.asked[-1][1]
    assert asked["channels"]["work"] == ["e-mail", "sms"]
    assert (asked["quiet"], asked["language"]) == ({"start": "22:00", "end": "07:00"}, None)
    assert "operations" not in asked["channels"], "a doctor gets no notices of that kind"


async def test_what_cannot_be_kept_stays_on_the_page(world: Any) -> None:
    world.systems.answers = {f"PUT {PREFERENCES}": SystemsRefused(422, "no")}
    browser = await world.signed_in()
    form = {"csrf": world.csrf(), "quiet": "yes", "start": "07:00", "end": "07:00"}
    answer = await browser.post("/portal/preferences", data=form)
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text
    assert answer.text.count('value="07:00"') == 2


async def test_log_is_the_region_operators_alone(world: Any) -> None:
    browser = await world.signed_in()
    assert (await browser.get("/portal/deliveries")).status_code == 403
    row = {
        "id": "d", "user": "expert.secondary", "channel": "e-mail", "kind": "consult-submitted", "number": "C-1",
        "raised_at": "2026-11-24T01:00:00Z", "state": "undeliverable", "next_attempt_at": "2026-11-24T01:00:00Z",
        "attempts": 3, "reason": "smtp-550", "to": "e***@x.example", "ended_at": "2026-11-24T02:00:00Z",
    }  # fmt: skip
    world.systems.answers = {"GET /notifications/deliveries": [row]}
    operator = await world.signed_in("operator.region")
    page = (await operator.get("/portal/deliveries", params={"state": "undeliverable", "channel": "x"})).text
    assert "e***@x.example" in page
    assert world.systems.asked[-1][1] == {"state": "undeliverable"}
