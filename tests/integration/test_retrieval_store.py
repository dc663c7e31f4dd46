"""One contract for the store of retrievals, on MongoDB and on its fake; and retrievals over real Kafka and MongoDB."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from gateway.adapters.retrievals import MongoEdges, MongoRetrievals
from gateway.retrievals.model import Want
from gateway.retrievals.ports import FakeRetrievals, RetrievalStore
from imaging_common.events import EdgeHeartbeat, PacsState, RetrieveFailed, RetrieveProgressed, SeriesWanted
from imaging_native.region import Region

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
KEY = "tertiary/1.2.3"


@pytest.fixture(params=["mongodb", "fake"])
async def store(request: pytest.FixtureRequest, servers: Region) -> AsyncIterator[RetrievalStore]:
    if request.param == "fake":
        yield FakeRetrievals()
        return
    client, name = servers.client("root"), f"gateway_{uuid4().hex[:8]}"
    made = MongoRetrievals(client[name])
    await made.prepare()
    yield made
    await client.drop_database(name)


def want(sop: str = "1.1", series: str = "1.2.3.1", priority: int = 0) -> Want:
    return Want("tertiary", "1.2.3", (SeriesWanted(series_uid=series),), (sop,), priority)


async def ask(store: RetrievalStore, one: Want, lease: str = "a", now: datetime = NOW) -> Any:
    return await store.ask(one, now, lasts=HOUR, lease=lease, until=now + MINUTE)


def progressed(retrieval_id: str, state: str, done: int) -> RetrieveProgressed:
    return RetrieveProgressed(
        retrieval_id=retrieval_id, study_uid="1.2.3", state=state,
        instances_total=10, instances_done=done, bytes_done=done, at=NOW,
    )  # fmt: skip


async def test_all_who_ask_at_once_share_one_retrieval(store: RetrievalStore) -> None:
    answers = await asyncio.gather(*(ask(store, want(f"1.{n}"), lease=f"copy-{n}") for n in range(8)))
    assert len({retrieval.retrieval_id for retrieval, _ in answers}) == 1
    kept = (await store.find([KEY]))[KEY]
    assert kept.revision == sum(tell for _, tell in answers) == 8
    assert set(kept.first) == {f"1.{n}" for n in range(8)}
    assert set(kept.leases) == {f"copy-{n}" for n in range(8)}
    assert [one.key for one in await store.live()] == [KEY]


async def test_same_want_is_not_told_again_and_an_ended_retrieval_is_begun_anew(store: RetrievalStore) -> None:
    first, told = await ask(store, want())
    again, told_again = await ask(store, want(), lease="b")
    assert (told, told_again, again.retrieval_id) == (True, False, first.retrieval_id)
    await store.progressed("tertiary", progressed(first.retrieval_id, "running", 4), NOW)
    await store.progressed("tertiary", progressed(first.retrieval_id, "done", 10), NOW)
    await store.progressed("tertiary", progressed(first.retrieval_id, "running", 5), NOW)
    kept = (await store.find([KEY]))[KEY]
    assert (kept.state, kept.done, kept.answered) == ("done", 10, True)
    assert await store.live() == []
    second, told = await ask(store, want())
    assert told
    assert second.retrieval_id != first.retrieval_id
    await store.failed(
        "tertiary",
        RetrieveFailed(retrieval_id=second.retrieval_id, study_uid="1.2.3", reason="pacs-refused", instances_done=0,
                       instances_missing=10, at=NOW),
        NOW,
    )  # fmt: skip
    assert (await store.find([KEY]))[KEY].reason == "pacs-refused"
    assert await store.live() == []


async def test_cancelled_only_when_nothing_changed_meanwhile(store: RetrievalStore) -> None:
    await ask(store, want())
    (seen,) = await store.live()
    await store.lease(KEY, "a", NOW - MINUTE)
    (expired,) = await store.live()
    assert not expired.wanted(NOW)
    if isinstance(store, MongoRetrievals):
        await store.lease(KEY, "b", NOW + MINUTE)
        assert not await store.cancel(expired, NOW)
        await store.lease(KEY, "b", NOW - MINUTE)
        assert not await store.cancel(seen, NOW)
        assert not await store.republish(seen.model_copy(update={"published_at": NOW - HOUR}), NOW)
    (expired,) = await store.live()
    again = await store.republish(expired, NOW)
    assert again is not None
    assert again.revision == 1
    assert await store.cancel(again, NOW)
    assert await store.live() == []


async def test_heartbeats_are_known_to_a_copy_that_starts(servers: Region) -> None:
    client, name = servers.client("root"), f"gateway_{uuid4().hex[:8]}"
    heartbeat = EdgeHeartbeat(
        sequence=1, backlog_instances=0, backlog_bytes=0, spool_bytes=0, spool_limit_bytes=1, agent_version="0",
        sent_at=NOW, pacs=PacsState(reachable=False, since=NOW),
    )  # fmt: skip
    await MongoEdges(client[name]).heard("tertiary", heartbeat, NOW)
    assert await MongoEdges(client[name]).all() == {"tertiary": (heartbeat, NOW)}
    await client.drop_database(name)
