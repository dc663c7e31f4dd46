"""The use cases on a real journal and folder, with the centre and Kafka as fakes."""

import asyncio
import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from edge_agent.adapters.journal import Journal
from edge_agent.adapters.pacs.health import LastCall
from edge_agent.adapters.recovery import recover_spool
from edge_agent.adapters.spool import SpoolFolder
from edge_agent.errors import BatchRefused, CentreUnavailable
from edge_agent.handlers import build_router
from edge_agent.model import Arrival, SpooledInstance
from edge_agent.ports import StoreAnswer
from edge_agent.settings import Settings
from edge_agent.usecases import relay_events, send_batches
from edge_agent.usecases.announce_studies import Announcer
from edge_agent.usecases.keep_ring import Ring
from edge_agent.usecases.relay_events import EventRelay
from edge_agent.usecases.send_batches import BatchSender
from edge_agent.usecases.send_heartbeat import Heartbeat
from imaging_common.errors import PublishFailed, RejectedError
from imaging_common.events import BatchStored, EdgeHeartbeat, ManifestEntry, StudyAvailable, StudyWithdrawn
from imaging_common.messaging import FakePublisher
from imaging_common.testing.waiting import until


class FakeCentre:
    """Answers by a function of the batch."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.answer: Callable[[Sequence[SpooledInstance]], StoreAnswer] = lambda batch: StoreAnswer(
            {one.sop_instance_uid for one in batch}
        )

    async def store(
        self, study_uid: str, batch: Sequence[SpooledInstance], retrieval_id: str | None = None
    ) -> StoreAnswer:
        assert {one.study_uid for one in batch} == {study_uid}
        self.batches.append([one.sop_instance_uid for one in batch])
        return self.answer(batch)


class Bench:
    """One spool with what works on it."""

    def __init__(self, root: Path, **settings: Any) -> None:
        self.settings = Settings(
            hospital="community",
            ae_title="COMMUNITY",
            spool_dir=root,
            ingest_url="http://127.0.0.1:1",
            quiet_seconds=1,
            first_batch_instances=2,
            **settings,
        )
        self.folder = SpoolFolder(root)
        self.journal = Journal(self.folder.journal_path)
        self.centre = FakeCentre()
        self.publisher = FakePublisher()
        self.sender = BatchSender(self.settings, self.journal, self.folder, self.centre)
        self.relay = EventRelay(self.journal, self.publisher)
        self.announcer = Announcer("community", 1, self.journal, self.relay.notify)
        self.ring = Ring(self.settings, self.journal, self.folder)

    def arrive(self, *numbers: int, study: str = "1.2") -> list[ManifestEntry]:
        entries = []
        for n in numbers:
            data = f"{study}.{n}".encode() * 10
            digest = hashlib.sha256(data).hexdigest()
            self.folder.path(digest).write_bytes(data)
            self.journal.add([Arrival(study, f"{study}.1", f"{study}.1.{n}", digest, len(data))])
            entries.append(ManifestEntry(sop_instance_uid=f"{study}.1.{n}", sha256=digest))
        self.sender.notify()
        return entries

    def states(self, study: str = "1.2") -> list[str]:
        return [row["state"] for row in self.journal.states_of(study)]

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():  # noqa: ASYNC110  (SQLite has no event to wait for)
                await asyncio.sleep(0.01)

    async def send_until(self, condition: Callable[[], bool]) -> None:
        task = asyncio.create_task(self.sender.run())
        try:
            await self.until(condition)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(send_batches, "FILL_SECONDS", 0.05)
    monkeypatch.setattr(send_batches, "FIRST_DELAY_SECONDS", 0.02)
    monkeypatch.setattr(send_batches, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(relay_events, "FIRST_DELAY_SECONDS", 0.02)
    one = Bench(tmp_path)
    yield one
    one.journal.close()


async def test_batches_are_sent_small_first_when_a_study_arrives(bench: Bench) -> None:
    bench.arrive(*range(1, 8))
    await bench.send_until(lambda: set(bench.states()) == {"sent"})
    assert [uid for batch in bench.centre.batches for uid in batch] == [f"1.2.1.{n}" for n in range(1, 8)]
    assert len(bench.centre.batches[0]) == 2


async def test_batch_is_sent_again_when_the_centre_is_away(bench: Bench) -> None:
    def away(_: Sequence[SpooledInstance]) -> StoreAnswer:
        if len(bench.centre.batches) < 4:
            raise CentreUnavailable("away")
        return StoreAnswer({"1.2.1.1"})

    bench.centre.answer = away
    bench.arrive(1)
    await bench.send_until(lambda: bench.states() == ["sent"])
    assert bench.centre.batches == [["1.2.1.1"]] * 4


async def test_only_the_bad_instance_is_rejected_when_the_centre_names_it(bench: Bench) -> None:
    bench.centre.answer = lambda batch: StoreAnswer(
        {i.sop_instance_uid for i in batch if not i.sop_instance_uid.endswith(".2")},
        {i.sop_instance_uid: "C000" for i in batch if i.sop_instance_uid.endswith(".2")},
    )
    entries = bench.arrive(1, 2, 3)
    await bench.send_until(lambda: "received" not in bench.states())
    assert bench.states() == ["sent", "rejected", "sent"]
    await bench.until(lambda: (bench.folder.quarantined / f"{entries[1].sha256}.dcm").exists())
    assert not bench.folder.path(entries[1].sha256).exists()
    assert bench.journal.states_of("1.2")[1]["reason"] == "C000"


async def test_only_the_bad_instance_is_rejected_when_the_centre_refuses_the_request(bench: Bench) -> None:
    def refuse(batch: Sequence[SpooledInstance]) -> StoreAnswer:
        if any(one.sop_instance_uid == "1.2.1.2" for one in batch):
            raise BatchRefused(400)
        return StoreAnswer({one.sop_instance_uid for one in batch})

    bench.centre.answer = refuse
    bench.arrive(1, 2, 3, 4)
    await bench.send_until(lambda: "received" not in bench.states())
    assert bench.states() == ["sent", "rejected", "sent", "sent"]
    assert bench.journal.states_of("1.2")[1]["reason"] == "http-400"


async def test_instance_is_sent_again_when_the_answer_does_not_mention_it(bench: Bench) -> None:
    bench.centre.answer = lambda batch: StoreAnswer({batch[0].sop_instance_uid})
    bench.arrive(1, 2)
    await bench.send_until(lambda: bench.states() == ["sent", "sent"])


async def test_instance_is_rejected_when_its_file_is_damaged(bench: Bench) -> None:
    entries = bench.arrive(1, 2)
    bench.folder.path(entries[0].sha256).write_bytes(b"short")
    await bench.send_until(lambda: bench.states() == ["rejected", "sent"])
    assert bench.journal.states_of("1.2")[0]["reason"] == "file-damaged"


async def test_studies_are_sent_side_by_side_within_the_bound(bench: Bench) -> None:
    for study in range(10):
        bench.arrive(1, 2, 3, study=f"1.9.{study}")
    await bench.send_until(lambda: all(set(bench.states(f"1.9.{s}")) == {"sent"} for s in range(10)))


async def test_study_is_announced_when_quiet_and_again_when_images_are_late(bench: Bench) -> None:
    entries = bench.arrive(1, 2)
    await bench.announcer.announce_quiet_studies(100)
    await bench.announcer.announce_quiet_studies(100.5)
    assert await bench.relay.relay_some() == 0
    await bench.announcer.announce_quiet_studies(101.1)
    assert await bench.relay.relay_some() == 1
    await bench.announcer.announce_quiet_studies(110)
    entries += bench.arrive(3)
    await bench.announcer.announce_quiet_studies(120)
    await bench.announcer.announce_quiet_studies(121)
    await bench.relay.relay_some()
    events = bench.publisher.events("edge-events-community")
    assert [e.announcement for e in events if isinstance(e, StudyAvailable)] == [1, 2]
    assert [e.instances for e in events if isinstance(e, StudyAvailable)] == [entries[:2], entries]
    assert bench.publisher.published[0][2] == "1.2"


async def test_study_is_withdrawn_when_all_of_an_announced_one_was_rejected(bench: Bench) -> None:
    bench.arrive(1)
    await bench.announcer.announce_quiet_studies(100)
    await bench.announcer.announce_quiet_studies(102)
    bench.journal.mark_rejected({1: "C000"})
    await bench.announcer.announce_quiet_studies(103)
    await bench.announcer.announce_quiet_studies(105)
    await bench.relay.relay_some()
    last = bench.publisher.events("edge-events-community")[-1]
    assert isinstance(last, StudyWithdrawn)
    assert last.announcement == 2


async def test_event_is_published_with_the_same_id_when_kafka_was_away(bench: Bench) -> None:
    bench.arrive(1)
    await bench.announcer.announce_quiet_studies(100)
    await bench.announcer.announce_quiet_studies(102)
    (event,) = bench.journal.next_events(10)
    bench.publisher.fail_with = PublishFailed("away")
    with pytest.raises(PublishFailed):
        await bench.relay.relay_some()
    task = asyncio.create_task(bench.relay.run())
    bench.publisher.fail_with = None
    await bench.until(lambda: bool(bench.publisher.published))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert bench.publisher.event_ids == [event.event_id]


async def test_event_is_set_aside_when_it_can_never_be_published(bench: Bench) -> None:
    for study in ("1.2", "1.3"):
        bench.arrive(1, study=study)
    await bench.announcer.announce_quiet_studies(100)
    await bench.announcer.announce_quiet_studies(102)
    bench.publisher.fail_with = RejectedError("too large")
    assert await bench.relay.relay_some() == 2
    assert await bench.relay.relay_some() == 0
    assert bench.journal.events_set_aside() == 2


async def test_ring_keeps_the_newest_copies_within_its_bound(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ring_bytes=120)
    entries = bench.arrive(1, 2, 3, 4)
    for entry in entries:
        receipt = BatchStored(hospital="community", study_uid="1.2", instances=[entry])
        await bench.ring.take_receipt(receipt)
        await bench.ring.take_receipt(receipt)
    assert set(bench.states()) == {"stored"}
    assert [bench.folder.path(entry.sha256).exists() for entry in entries] == [False, False, True, True]
    assert bench.journal.usage().ring_bytes == 100
    bench.journal.close()


async def test_receipt_is_refused_when_it_speaks_of_another_hospital(bench: Bench) -> None:
    (entry,) = bench.arrive(1)
    handler = build_router("community", bench.ring).find("BatchStored", "edge-commands-community")
    assert handler is not None
    receipt = BatchStored(hospital="secondary", study_uid="1.2", instances=[entry])
    with pytest.raises(RejectedError):
        await handler(receipt, None)
    assert bench.states() == ["received"]


async def test_heartbeat_tells_the_backlog(bench: Bench) -> None:
    bench.arrive(1, 2)
    heartbeat = Heartbeat(bench.settings, bench.journal, bench.publisher)
    await heartbeat.send_heartbeat()
    await heartbeat.send_heartbeat()
    first, second = bench.publisher.events("edge-events-community")
    assert isinstance(first, EdgeHeartbeat)
    assert isinstance(second, EdgeHeartbeat)
    assert (first.sequence, second.sequence) == (0, 1)
    assert (first.backlog_instances, first.backlog_bytes, first.spool_bytes) == (2, 100, 100)
    assert first.oldest_unsent_at is not None
    bench.journal.mark_sent([1, 2])
    await heartbeat.send_heartbeat()
    assert bench.publisher.events("edge-events-community")[-1].oldest_unsent_at is None  # type: ignore[attr-defined]


async def test_heartbeat_comes_out_of_turn_when_the_pacs_stops_answering(bench: Bench) -> None:
    health = LastCall()
    heartbeat = Heartbeat(bench.settings, bench.journal, bench.publisher)
    health.on_turn = heartbeat.notify
    beating = asyncio.create_task(heartbeat.run())
    await until(lambda: len(bench.publisher.events("edge-events-community")) == 1, what="the first beat")
    await asyncio.to_thread(health.failed, "timeout")
    await until(lambda: len(bench.publisher.events("edge-events-community")) == 2, what="the beat out of turn")
    await asyncio.to_thread(health.failed, "timeout")
    beating.cancel()
    await asyncio.gather(beating, return_exceptions=True)
    assert len(bench.publisher.events("edge-events-community")) == 2


async def test_spool_is_swept_when_the_agent_starts(bench: Bench) -> None:
    kept, rejected = bench.arrive(1, 2)
    bench.journal.mark_rejected({2: "C000"})
    (bench.folder.incoming / "7-1.part").write_bytes(b"half")
    stranger = bench.folder.path("f" * 64)
    stranger.write_bytes(b"renamed, but never in the journal")
    recover_spool(bench.folder, bench.journal)
    assert list(bench.folder.incoming.iterdir()) == []
    assert not stranger.exists()
    assert bench.folder.path(kept.sha256).exists()
    assert (bench.folder.quarantined / f"{rejected.sha256}.dcm").exists()
