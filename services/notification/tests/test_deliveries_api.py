"""Preferences are one's own, the log is the region's operators'."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from imaging_common.auth import Claims, InvalidToken, TokenVerifier
from imaging_common.http import create_app
from imaging_common.settings import ServiceSettings
from notification.deliveries.api import build_deliveries_api
from notification.deliveries.model import GROUPS, Delivery, Preferences

AT = datetime(2026, 11, 24, 1, 0, tzinfo=UTC)
PATH = "/notifications/preferences"
ENTRY = Delivery(
    id="d", notice_ids=["n"], user="li", channel="sms", kind="report-issued", number="C-1", link="/portal/consults/c",
    urgency="routine", raised_at=AT, at=AT, next_attempt_at=AT, state="sent", to="***201",
)  # fmt: skip


class Verifier(TokenVerifier):
    """Takes `<user>:<role>`."""

    def __init__(self) -> None:
        super().__init__("https://id.example", "imaging-cloud")

    async def verify(self, token: str) -> Claims:
        user, _, role = token.partition(":")
        if not role:
            raise InvalidToken("no")
        return Claims(user, "secondary", frozenset({role}))


class Store:
    """One entry of the log, and what people chose."""

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}
        self.chosen: dict[str, Preferences] = {}

    async def log(self, **asked: Any) -> Sequence[Delivery]:
        self.asked = asked
        return [ENTRY]

    async def of(self, user: str) -> Preferences:
        return self.chosen.get(user, Preferences())

    async def keep(self, user: str, preferences: Preferences) -> None:
        self.chosen[user] = preferences


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
async def client(store: Store) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app("notification", ServiceSettings(), lifespan=None, checks={})  # type: ignore[arg-type]
    app.include_router(build_deliveries_api(store, store, Verifier()))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://n") as client:
        yield client


def as_(user: str, role: str = "doctor") -> dict[str, str]:
    return {"Authorization": f"Bearer {user}:{role}"}


async def test_everybody_chooses_for_themselves(client: httpx.AsyncClient, store: Store) -> None:
    standard = (await client.get(PATH, headers=as_("li"))).json()
    assert set(standard["channels"]) == set(GROUPS)
    chosen = {"channels": {"work": []}, "language": "en", "quiet": {"start": "22:00", "end": "07:00"}}
    kept = await client.put(PATH, json=chosen, headers=as_("li"))
    assert kept.json()["channels"]["work"] == []
    assert set(store.chosen) == {"li"}
    assert (await client.get(PATH, headers=as_("wu"))).json() == standard


@pytest.mark.parametrize(
    "wrong",
    [
        {"channels": {"critical": []}},
        {"channels": {"work": ["pigeon"]}},
        {"quiet": {"start": "07:00", "end": "07:00"}},
        {"quiet": {"start": "25:00", "end": "07:00"}},
        {"language": "fr"},
        {"user": "wu"},
    ],
)
async def test_what_makes_no_sense_is_refused_and_nothing_changes(
    client: httpx.AsyncClient, store: Store, wrong: dict[str, Any]
) -> None:
    assert (await client.put(PATH, json=wrong, headers=as_("li"))).status_code == 422
    assert store.chosen == {}


async def test_nobody_gets_in_without_a_token_and_only_operators_see_the_log(client: httpx.AsyncClient) -> None:
    assert (await client.get(PATH)).status_code == 401
    log = "/notifications/deliveries"
    for role in ("doctor", "hospital-operator"):
        assert (await client.get(log, headers=as_("u", role))).status_code == 403
    (line,) = (await client.get(log, headers=as_("o", "region-operator"))).json()
    assert (line["to"], line["state"], "notice_ids" in line) == ("***201", "sent", False)


async def test_log_is_asked_by_state_channel_person_and_time(client: httpx.AsyncClient, store: Store) -> None:
    params = {"state": "sent", "channel": "sms", "user": "li", "before": "2026-11-24T01:00:00Z", "limit": "5"}
    answer = await client.get("/notifications/deliveries", params=params, headers=as_("o", "region-operator"))
    assert answer.status_code == 200
    assert store.asked == {"state": "sent", "channel": "sms", "user": "li", "before": AT, "limit": 5}
    wrong = {"state": "lost"}
    answer = await client.get("/notifications/deliveries", params=wrong, headers=as_("o", "region-operator"))
    assert answer.status_code == 422
