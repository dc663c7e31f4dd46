"""HTTP: the record is for auditors, filtered and paged, and reading it is on the record too."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from audit.adapters.fake_records import FakeRecordStore
from audit.api import build_api
from audit.ports import RecordStore
from audit.settings import AuditSettings
from audit.usecases import append_record
from imaging_common.auth import Claims, InvalidToken, TokenVerifier
from imaging_common.events import AuditRecorded
from imaging_common.http import create_app

BEGIN = datetime(2026, 11, 24, 8, tzinfo=UTC)
PEOPLE = {
    "auditor": Claims("auditor.region", "", frozenset({"auditor"}), "何静"),
    "doctor": Claims("doctor.community", "community", frozenset({"doctor"}), "陈建国"),
}


async def append(store: RecordStore, event: AuditRecorded) -> bool:
    """As if each service's records came by a partition of their own."""
    return await append_record(store, event, event.service)


class FakeVerifier(TokenVerifier):
    """Takes a person's name as the token; `away` is a provider that does not answer."""

    async def verify(self, token: str) -> Claims:
        if token == "away":
            raise httpx.ConnectError("refused")
        if token not in PEOPLE:
            raise InvalidToken("the token's signature does not verify")
        return PEOPLE[token]


@pytest.fixture
async def store() -> FakeRecordStore:
    """Twelve looks, a minute apart, of two people at three studies; every third is denied."""
    store = FakeRecordStore()
    for n in range(12):
        look = AuditRecorded(
            audit_id=f"a{n}",
            service=("gateway", "consult")[n % 2],
            action=("view", "search")[n // 6],
            outcome="denied" if n % 3 == 0 else "success",
            user=("doctor.community", "expert.secondary")[n % 2],
            study_uid=f"1.2.{n % 3}",
            at=BEGIN + timedelta(minutes=n),
        )
        await append(store, look)
    return store


@pytest.fixture
async def http(store: FakeRecordStore) -> AsyncIterator[httpx.AsyncClient]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield

    app = create_app("audit", AuditSettings(), lifespan=lifespan, checks={})
    app.include_router(build_api(store, FakeVerifier("https://id.example", "imaging-cloud")))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://audit") as client:
        yield client


async def get(http: httpx.AsyncClient, who: str = "auditor", **params: Any) -> httpx.Response:
    return await http.get("/records", params=params, headers={"Authorization": f"Bearer {who}"})


def ids(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [link["audit_id"] for link in answer.json()]


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"user": "expert.secondary", "action": "search"}, ["a11", "a9", "a7"]),
        ({"study_uid": "1.2.1"}, ["a10", "a7", "a4", "a1"]),
        ({"outcome": "denied", "until": "2026-11-24T08:06:00Z"}, ["a3", "a0"]),
        ({"since": "2026-11-24T16:10:00+08:00", "until": "2026-11-24T08:11:00Z"}, ["a10"]),
        ({"consult_id": "c1"}, []),
    ],
)
async def test_records_are_filtered(http: httpx.AsyncClient, params: dict[str, str], expected: list[str]) -> None:
    assert ids(await get(http, **params)) == expected


async def test_pages_hold_every_record_once_although_the_reading_is_recorded(http: httpx.AsyncClient) -> None:
    seen: list[str] = []
    answer = await get(http, limit=5)
    seen += ids(answer)
    while following := answer.links.get("next", {}).get("url"):
        answer = await http.get(following, headers={"Authorization": "Bearer auditor"})
        seen += ids(answer)
    assert seen == [f"a{n}" for n in reversed(range(12))]


async def test_reading_the_record_is_recorded(http: httpx.AsyncClient, store: FakeRecordStore) -> None:
    await get(http, study_uid="1.2.1")
    record = store.links[-1]["record"]
    assert (record["service"], record["user"], record["action"]) == ("audit", "auditor.region", "search")
    assert (record["study_uid"], record["count"], record["outcome"]) == ("1.2.1", 4, "success")


async def test_summary_says_who_looked_and_is_itself_on_the_record(
    http: httpx.AsyncClient, store: FakeRecordStore
) -> None:
    headers = {"Authorization": "Bearer auditor"}
    answer = await http.get("/records/summary", params={"resident": ["R-1"], "study": ["1.2.1"]}, headers=headers)
    assert answer.status_code == 200, answer.text
    people = {one["user"]: (one["looks"], one["searches"]) for one in answer.json()["people"]}
    assert people == {"doctor.community": (1, 1), "expert.secondary": (1, 1)}
    record = store.links[-1]["record"]
    assert (record["reason"], record["resident_id"], record["count"]) == ("summary", "R-1", 2)
    refused = await http.get("/records/summary", headers={"Authorization": "Bearer doctor"})
    assert refused.status_code == 403
    assert store.links[-1]["record"]["outcome"] == "denied"


async def test_only_an_auditor_reads_and_the_attempt_is_recorded(
    http: httpx.AsyncClient, store: FakeRecordStore
) -> None:
    assert (await get(http, "doctor")).status_code == 403
    record = store.links[-1]["record"]
    assert (record["user"], record["outcome"], record["reason"]) == ("doctor.community", "denied", "not-an-auditor")


@pytest.mark.parametrize(("who", "status"), [("nobody", 401), ("away", 503)])
async def test_only_a_verified_token_gets_in(http: httpx.AsyncClient, who: str, status: int) -> None:
    assert (await get(http, who)).status_code == status
    assert (await http.get("/records")).status_code == 401


@pytest.mark.parametrize(
    "params",
    [{"since": "2026-11-24T08:00:00"}, {"study_uid": "1.2.x"}, {"action": "guess"}, {"after": "1.x"}, {"limit": 0}],
)
async def test_question_that_does_not_fit_is_refused(http: httpx.AsyncClient, params: dict[str, Any]) -> None:
    assert (await get(http, **params)).status_code == 422
