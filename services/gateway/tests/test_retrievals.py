"""Retrievals over fakes: shared, reordered, cancelled, refused at once; waits end with the event or the slow poll."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from gateway.errors import HolderAway
from gateway.retrievals.bounds import Bounds
from gateway.retrievals.edges import Edges
from gateway.retrievals.model import Retrieval, Want, asked, progress_of, union
from gateway.retrievals.ports import FakeEdgeStore, FakeRetrievals, with_failure, with_progress
from gateway.retrievals.retriever import Retriever
from imaging_common.events import (
    EdgeHeartbeat,
    PacsState,
    RetrieveCancelled,
    RetrieveFailed,
    RetrieveProgressed,
    RetrieveRequested,
    SeriesWanted,
    StudyChanged,
    Version,
)
from imaging_common.index.fake import FakeIndexReader
from imaging_common.index.model import ListedInstance
from imaging_common.messaging import FakePublisher
from imaging_common.testing.metrics import Counted, gauge
from imaging_common.testing.waiting import until

HOLDER, STUDY, SERIES = "tertiary", "1.2.3", "1.2.3.4"
NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
TOPIC = f"edge-commands-{HOLDER}"
FAST = Bounds(frame=5.0, silence=5.0, debounce=0.01, pause=0.01, poll=0.02, linger=10.0, lease=15.0)


@dataclass
class Centre:
    """An index, a store of retrievals, a topic and a clock."""

    reader: FakeIndexReader = field(default_factory=FakeIndexReader)
    store: FakeRetrievals = field(default_factory=FakeRetrievals)
    publisher: FakePublisher = field(default_factory=FakePublisher)
    edge_store: FakeEdgeStore = field(default_factory=FakeEdgeStore)
    now: datetime = NOW
    copies: list[Retriever] = field(default_factory=list)

    def copy(self, bounds: Bounds = FAST) -> Retriever:
        """Another copy of the gateway."""
        edges = Edges(self.edge_store, interval_seconds=10, clock=lambda: self.now)
        made = Retriever(self.store, self.reader.index(), edges, self.publisher, bounds, clock=lambda: self.now)
        self.copies.append(made)
        return made

    def put(self, sop: str, *, here: bool = False, series: str = SERIES) -> ListedInstance:
        """An instance at the hospital, or with its bytes here."""
        location = {"bucket": "cache", "key": "k", "encoding": "original", "offset": 0, "length": 4,
                    "original_length": 4}  # fmt: skip
        document = {
            "_id": f"{HOLDER}/{STUDY}/{sop}", "study_uid": STUDY, "series_uid": series, "sop_instance_uid": sop,
            "sop_class_uid": "1.2", "holder": HOLDER, "transfer_syntax_uid": "1.2.840.10008.1.2.1",
            "sha256": "a" * 64 if here else None, "location": location if here else None,
            "header": orjson.dumps({}), "header_full": here, "study_key": f"{HOLDER}/{STUDY}",
            "series_key": f"{HOLDER}/{STUDY}/{series}",
        }  # fmt: skip
        self.reader.put("instances", document)
        key = f"{HOLDER}/{STUDY}/{series}"
        self.reader.put("series", {"_id": key, "study_uid": STUDY, "series_uid": series, "holder": HOLDER,
                                   "study_key": f"{HOLDER}/{STUDY}", "instance_count": 1})  # fmt: skip
        return ListedInstance.from_mongo(document)

    @property
    def requests(self) -> list[RetrieveRequested]:
        return [event for event in self.publisher.events(TOPIC) if isinstance(event, RetrieveRequested)]

    @property
    def cancelled(self) -> list[RetrieveCancelled]:
        return [event for event in self.publisher.events(TOPIC) if isinstance(event, RetrieveCancelled)]


@pytest.fixture
async def centre() -> AsyncIterator[Centre]:
    centre = Centre()
    yield centre
    for copy in centre.copies:
        await copy.stop()


def changed() -> StudyChanged:
    return StudyChanged(
        study_uid=STUDY, holder=HOLDER, version=Version(epoch=0, n=2), tier="distributed", announced=True, settled=True,
        stored=False, series_count=1, instance_count=2, announced_count=2, stored_count=0, changed_at=NOW,
    )  # fmt: skip


def heartbeat(*, reachable: bool = True) -> EdgeHeartbeat:
    return EdgeHeartbeat(
        sequence=1, backlog_instances=0, backlog_bytes=0, spool_bytes=0, spool_limit_bytes=1, agent_version="0",
        sent_at=NOW, pacs=PacsState(reachable=reachable, since=NOW - timedelta(minutes=5)),
    )  # fmt: skip


def progress(retrieval_id: str, state: str = "running", **more: Any) -> RetrieveProgressed:
    return RetrieveProgressed(
        retrieval_id=retrieval_id, study_uid=STUDY, state=state, instances_total=more.pop("total", 10),
        instances_done=more.pop("done", 1), bytes_done=500_000, at=NOW, **more,
    )  # fmt: skip


async def soon(check: Callable[[], Any]) -> None:
    await until(lambda: bool(check()), 5)


async def test_two_copies_share_one_retrieval_and_a_frame_lands_with_the_event(centre: Centre) -> None:
    one, two = centre.copy(Bounds(poll=60)), centre.copy(Bounds(poll=60))
    listed = centre.put("1.1")
    centre.put("9.1", series="1.2.3.9")
    waited = Counted("imaging_retrieve_wait_seconds_count", hospital=HOLDER, outcome="brought")
    waiting = [asyncio.create_task(copy.bring(listed, whole=True)) for copy in (one, two)]
    await soon(lambda: centre.requests)
    first = centre.requests[0]
    assert [(s.series_uid, s.instances) for s in first.series] == [(SERIES, []), ("1.2.3.9", [])]
    assert (first.first, first.priority, first.revision) == (["1.1"], 0, 1)
    centre.put("1.1", here=True)
    await one.study_changed(changed())
    await two.study_changed(changed())
    found = await asyncio.gather(*waiting)
    assert {instance.location.bucket for instance in found} == {"cache"}
    assert len({request.retrieval_id for request in centre.requests}) == 1
    assert waited.grown == 2


async def test_end_of_a_retrieval_is_measured_by_the_copy_that_asked(centre: Centre) -> None:
    asker, other = centre.copy(), centre.copy()
    listed = centre.put("1.1")
    task = asyncio.create_task(asker.bring(listed))
    await soon(lambda: centre.requests)
    centre.put("1.1", here=True)
    await asker.study_changed(changed())
    await task
    centre.now += timedelta(seconds=4)
    done = Counted("imaging_retrievals_total", hospital=HOLDER, outcome="done")
    came, seconds = (
        Counted(f"imaging_retrieve_{what}", hospital=HOLDER) for what in ("bytes_total", "whole_seconds_sum")
    )
    for copy in (asker, other):
        await copy.progressed(HOLDER, progress(centre.requests[0].retrieval_id, "done", done=10))
    assert (done.grown, came.grown, seconds.grown) == (1, 500_000, 4)


async def test_what_an_edge_agent_says_of_itself_is_a_metric_and_grows_old_when_it_falls_silent(centre: Centre) -> None:
    copy = centre.copy()
    spoken = heartbeat(reachable=False).model_copy(
        update={"backlog_bytes": 700, "backlog_instances": 7, "consumer_lag": 3, "oldest_unsent_at": NOW}
    )
    await copy.edges.heard(HOLDER, spoken)
    shown = {"up": 1, "age_seconds": 0, "pacs_reachable": 0, "backlog_bytes": 700, "backlog_instances": 7}
    shown |= {"command_lag_messages": 3, "oldest_unsent_seconds": 0, "spool_limit_bytes": 1, "waiting_studies": 0}
    assert {name: gauge(f"imaging_heartbeat_{name}", hospital=HOLDER) for name in shown} == shown
    centre.now += timedelta(seconds=40)
    await copy.look_after_once()
    late = {"up": 0, "age_seconds": 40, "oldest_unsent_seconds": 40}
    assert {name: gauge(f"imaging_heartbeat_{name}", hospital=HOLDER) for name in late} == late


async def test_lost_event_is_made_good_by_the_poll(centre: Centre) -> None:
    copy, listed = centre.copy(), centre.put("1.1")
    task = asyncio.create_task(copy.bring(listed))
    await soon(lambda: centre.requests)
    centre.put("1.1", here=True)
    assert (await task).id == listed.id


async def test_many_frames_at_once_become_few_revisions_with_all_of_them_first(centre: Centre) -> None:
    copy = centre.copy(Bounds(debounce=0.05, pause=0.05, poll=60))
    listed = [centre.put(f"1.{n}") for n in range(30)]
    tasks = [asyncio.create_task(copy.bring(one, whole=True)) for one in listed]
    await soon(lambda: len(centre.requests) == 2)
    assert centre.requests[0].first == ["1.0"]
    assert centre.requests[1].first == [*(f"1.{n}" for n in range(26, 30)), *(f"1.{n}" for n in range(4))]
    assert centre.requests[1].revision == 2
    for task in tasks:
        task.cancel()


async def test_offline_hospital_is_answered_at_once_and_again_asked_when_it_speaks(centre: Centre) -> None:
    copy, listed = centre.copy(), centre.put("1.1")
    await copy.edges.heard(HOLDER, heartbeat())
    centre.now += timedelta(seconds=31)
    with pytest.raises(HolderAway) as caught:
        await copy.bring(listed)
    assert (
        caught.value.away.warning
        == '299 imaging-cloud "tertiary cannot be asked since 2026-11-24T08:00:00Z: edge-offline"'
    )
    assert centre.requests == []
    assert await copy.edges.heard(HOLDER, heartbeat(reachable=False))
    with pytest.raises(HolderAway) as caught:
        await copy.bring(listed)
    assert (caught.value.away.reason, caught.value.away.since) == ("pacs-unreachable", NOW - timedelta(minutes=5))
    assert await copy.edges.heard(HOLDER, heartbeat())
    task = asyncio.create_task(copy.bring(listed))
    await soon(lambda: centre.requests)
    centre.now += timedelta(seconds=60)
    await copy.look_after_once()
    with pytest.raises(HolderAway, match="edge-offline"):
        await task


async def test_hospital_that_falls_silent_is_told_once_and_once_more_when_it_speaks(centre: Centre) -> None:
    told: list[str] = []

    async def turned(hospital: str) -> None:
        told.append(hospital)

    edges = Edges(centre.edge_store, interval_seconds=10, clock=lambda: centre.now)
    copy = Retriever(
        centre.store, centre.reader.index(), edges, centre.publisher, FAST, clock=lambda: centre.now, turned=turned
    )
    await edges.heard(HOLDER, heartbeat())
    await copy.look_after_once()
    assert told == []
    centre.now += timedelta(seconds=31)
    await copy.look_after_once()
    await copy.look_after_once()
    assert told == [HOLDER]
    await edges.heard(HOLDER, heartbeat())
    await copy.look_after_once()
    assert told == [HOLDER, HOLDER]


async def test_failure_ends_all_waits_and_is_believed_for_a_while(centre: Centre) -> None:
    copy, listed, other = centre.copy(), centre.put("1.1"), centre.put("1.2")
    tasks = [asyncio.create_task(copy.bring(one)) for one in (listed, other)]
    await soon(lambda: centre.requests)
    failed = RetrieveFailed(
        retrieval_id=centre.requests[0].retrieval_id, study_uid=STUDY, reason="study-gone", instances_done=0,
        instances_missing=2, at=NOW,
    )  # fmt: skip
    gone = Counted("imaging_retrievals_total", hospital=HOLDER, outcome="study-gone")
    await copy.failed(HOLDER, failed)
    assert gone.grown == 1
    for task in tasks:
        with pytest.raises(HolderAway, match="study-gone"):
            await task
    count = len(centre.requests)
    with pytest.raises(HolderAway, match="study-gone"):
        await copy.bring(listed)
    assert len(centre.requests) == count
    centre.now += timedelta(seconds=11)
    task = asyncio.create_task(copy.bring(listed))
    await soon(lambda: len(centre.requests) > count)
    assert centre.requests[-1].retrieval_id != failed.retrieval_id
    task.cancel()


async def test_image_that_the_pacs_did_not_give_is_told_while_others_land(centre: Centre) -> None:
    copy, listed = centre.copy(), [centre.put("1.1"), centre.put("1.2")]
    found: list[str] = []

    async def collect() -> None:
        async for instance in copy.each(listed):
            found.append(instance.sop_instance_uid)

    task = asyncio.create_task(collect())
    await soon(lambda: centre.requests)
    centre.put("1.2", here=True)
    await soon(lambda: found)
    await copy.progressed(HOLDER, progress(centre.requests[0].retrieval_id, "done", missing=["1.1"], done=1, total=2))
    with pytest.raises(HolderAway, match="not-given"):
        await task
    assert found == ["1.2"]


async def test_retrieval_is_cancelled_only_after_the_last_viewer_of_all_copies_left(centre: Centre) -> None:
    one, two = centre.copy(), centre.copy()
    listed = centre.put("1.1")
    task = asyncio.create_task(one.bring(listed, whole=True))
    await soon(lambda: centre.requests)
    async with two.viewing(HOLDER, STUDY):
        task.cancel()
        for _ in range(10):
            centre.now += timedelta(seconds=5)
            await one.edges.heard(HOLDER, heartbeat())
            await two.edges.heard(HOLDER, heartbeat())
            await two.look_after_once()
            await one.look_after_once()
        assert centre.cancelled == []
    for _ in range(6):
        centre.now += timedelta(seconds=5)
        await two.look_after_once()
    assert [event.retrieval_id for event in centre.cancelled] == [centre.requests[0].retrieval_id]


async def test_hospital_that_does_not_answer_is_told_again(centre: Centre) -> None:
    copy, listed = centre.copy(), centre.put("1.1")
    task = asyncio.create_task(copy.bring(listed))
    await soon(lambda: centre.requests)
    centre.now += timedelta(seconds=6)
    await copy.look_after_once()
    assert [request.revision for request in centre.requests] == [1, 1]
    await copy.progressed(HOLDER, progress(centre.requests[0].retrieval_id))
    centre.now += timedelta(seconds=6)
    await copy.look_after_once()
    assert len(centre.requests) == 2
    centre.now += timedelta(seconds=30)
    await copy.edges.heard(HOLDER, heartbeat())
    await copy.look_after_once()
    assert [request.revision for request in centre.requests] == [1, 1, 2]
    task.cancel()


async def test_only_what_is_missing_of_a_series_is_asked_for(centre: Centre) -> None:
    copy = centre.copy()
    listed = [centre.put(f"1.{number}", here=number == 2) for number in (1, 2, 3)]
    key = f"{HOLDER}/{STUDY}/{SERIES}"
    centre.reader.put("series", {**centre.reader.collections["series"][key], "instance_count": 3, "online_count": 1})
    task = asyncio.create_task(copy.bring(listed[2], whole=True))
    await soon(lambda: centre.requests)
    assert centre.requests[0].series == [SeriesWanted(series_uid=SERIES, instances=["1.1", "1.3"])]
    task.cancel()


def test_wants_are_joined_and_only_what_is_new_makes_a_revision() -> None:
    def ask(known: Retrieval | None, **want: Any) -> Retrieval | None:
        return asked(known, Want(HOLDER, STUDY, **want), NOW, new_id="f" * 32, lasts=timedelta(hours=1))

    a, b = SeriesWanted(series_uid="1.1"), SeriesWanted(series_uid="1.2")
    known = ask(None, series=(a,), first=("1.1.1",), priority=5)
    assert known is not None
    assert ask(known, series=(a,), first=("1.1.1",), priority=5) is None
    more = ask(known, series=(b,), first=("1.2.1",), priority=0)
    assert more is not None
    assert (more.series, more.first, more.priority, more.revision) == ([a, b], ["1.2.1", "1.1.1"], 0, 2)
    assert union([a], []) == []
    assert union([], [a]) == []
    some = SeriesWanted(series_uid="1.1", instances=["1.1.1"])
    assert union([some], [SeriesWanted(series_uid="1.1", instances=["1.1.2"])])[0].instances == ["1.1.1", "1.1.2"]
    assert union([some], [a]) == [a]
    assert len(ask(known, first=tuple(f"2.{n}" for n in range(90))).first) == 16  # type: ignore[union-attr]


def test_progress_estimates_from_what_came_and_what_has_ended_stays_so() -> None:
    known = asked(None, Want(HOLDER, STUDY), NOW, new_id="f" * 32, lasts=timedelta(hours=1))
    assert known is not None
    assert progress_of(known, NOW).seconds_left is None
    known = with_progress(known, progress(known.retrieval_id, done=0, total=100), NOW)
    known = with_progress(known, progress(known.retrieval_id, done=25, total=100), NOW + timedelta(seconds=10))
    shown = progress_of(known, NOW + timedelta(seconds=10))
    assert (shown.percent, shown.seconds_left, shown.megabytes) == (25, 30, "0.5")
    failed = with_failure(
        known,
        RetrieveFailed(retrieval_id=known.retrieval_id, study_uid=STUDY, reason="pacs-refused", instances_done=25,
                       instances_missing=75, at=NOW),
        NOW,
    )  # fmt: skip
    assert with_progress(failed, progress(known.retrieval_id), NOW) == failed
