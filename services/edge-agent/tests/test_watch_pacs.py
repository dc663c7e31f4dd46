"""The watch over a PACS on a real journal, with PACS and centre as fakes."""

import asyncio
import hashlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from edge_agent.adapters.journal import Journal
from edge_agent.adapters.pacs.fake import CT, FakePacs
from edge_agent.adapters.pacs_journal import PacsJournal
from edge_agent.adapters.spool import SpoolFolder
from edge_agent.errors import BatchRefused, CentreUnavailable, PacsUnreachable
from edge_agent.model import Arrival
from edge_agent.settings import Settings
from edge_agent.usecases import watch_pacs
from edge_agent.usecases.hint_forwarded import ForwardHints
from edge_agent.usecases.keep_ring import Ring
from edge_agent.usecases.watch_pacs import PacsWatch
from imaging_common.events import BatchStored, ManifestEntry, StudyAvailable, StudyWithdrawn
from imaging_common.objects.catalogue import Catalogue, catalogue_key, decode
from imaging_common.testing.waiting import until

TODAY = f"{datetime.now():%Y%m%d}"
OLD = f"{datetime.now() - timedelta(days=900):%Y%m%d}"


class FakeDoor:
    """Keeps catalogues; answers as it is told."""

    def __init__(self) -> None:
        self.kept: dict[str, Catalogue] = {}
        self.order: list[str] = []
        self.error: Exception | None = None

    async def put(self, study_uid: str, data: bytes) -> str:
        if self.error is not None:
            raise self.error
        key = catalogue_key("tcm", study_uid, data)
        self.kept[key] = decode(data)
        self.order.append(study_uid)
        return key


class Bench:
    """One agent's watch."""

    def __init__(self, root: Path, pacs: FakePacs | None = None, **settings: Any) -> None:
        self.root = root
        self.pacs = pacs or FakePacs()
        self.door = FakeDoor()
        self.settings = Settings(
            hospital="tcm",
            ae_title="TCM",
            spool_dir=root,
            ingest_url="http://127.0.0.1:1",
            pacs_ae_title="TCM_PACS",
            **{"pacs_sweep_seconds": 0.1, "pacs_backfill_per_minute": 60000, **settings},
        )
        self.open()

    def open(self) -> None:
        self.journal = Journal(self.root / "journal.sqlite")
        self.known = PacsJournal(self.journal, "tcm")
        self.forward = ForwardHints(0.1, self.journal, self.known, lambda uid: self.watch.hint(uid))
        self.watch = PacsWatch(self.settings, self.pacs, self.known, self.door, on_listed=self.forward.on_listed)

    def restart(self) -> None:
        self.journal.close()
        self.open()

    def events(self, study_uid: str | None = None) -> list[StudyAvailable | StudyWithdrawn]:
        found = [one.event for one in self.journal.next_events(10_000)]
        return [
            one
            for one in found
            if isinstance(one, StudyAvailable | StudyWithdrawn) and study_uid in (None, one.study_uid)
        ]

    def said(self, study_uid: str) -> list[tuple[str, int]]:
        return [(type(one).__name__, one.announcement) for one in self.events(study_uid)]

    def catalogue(self, study_uid: str) -> Catalogue:
        last = self.events(study_uid)[-1]
        assert isinstance(last, StudyAvailable)
        assert last.catalogue_key is not None
        assert last.basis == "pacs"
        assert last.instances == []
        return self.door.kept[last.catalogue_key]

    async def announce_all(self) -> None:
        while await self.watch._announce_next():
            continue

    async def sweep(self) -> None:
        await self.watch.sweep()
        await self.announce_all()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    one = Bench(tmp_path)
    yield one
    one.journal.close()


async def test_study_is_announced_with_its_catalogue_when_the_pacs_has_it(bench: Bench) -> None:
    bench.pacs.put("1.2.1", instances=3, date=TODAY, patient_name="王^小东")
    await bench.sweep()
    catalogue = bench.catalogue("1.2.1")
    assert (catalogue.hospital, catalogue.study_uid, catalogue.announcement) == ("tcm", "1.2.1", 1)
    assert [one.sop_instance_uid for one in catalogue.instances] == ["1.2.1.1.1", "1.2.1.1.2", "1.2.1.1.3"]
    assert {(one.full, one.sop_class_uid) for one in catalogue.instances} == {(True, CT)}
    assert catalogue.study["00100010"]["Value"] == [{"Alphabetic": "王^小东"}]
    assert [one.sop_instance_uid for one in bench.known.instances("1.2.1")] == [
        one.sop_instance_uid for one in catalogue.instances
    ]
    await bench.sweep()
    assert bench.said("1.2.1") == [("StudyAvailable", 1)]


async def test_old_study_is_announced_within_one_sweep_when_it_is_imported_or_grows(bench: Bench) -> None:
    bench.pacs.put("1.2.1", date=TODAY)
    await bench.sweep()
    bench.pacs.put("1.2.2", date=OLD)
    await bench.sweep()
    assert bench.said("1.2.2") == [("StudyAvailable", 1)]
    bench.pacs.contents["1.2.2"].series["1.2.2.1"].append("1.2.2.1.9")
    await bench.sweep()
    assert bench.said("1.2.2") == [("StudyAvailable", 1), ("StudyAvailable", 2)]
    assert len(bench.catalogue("1.2.2").instances) == 3
    bench.pacs.contents["1.2.2"].patient_name = "Zhang^Si"
    await bench.sweep()
    assert bench.said("1.2.2")[-1] == ("StudyAvailable", 3)
    assert bench.said("1.2.1") == [("StudyAvailable", 1)]


async def test_changed_instances_are_found_when_the_pacs_counts_none(tmp_path: Path) -> None:
    bench = Bench(tmp_path, FakePacs(gives_headers=False, gives_counts=False))
    for n in range(5):
        bench.pacs.put(f"1.2.{n}", date=OLD)
    await bench.sweep()
    assert not any(one.full for one in bench.catalogue("1.2.3").instances)
    assert bench.catalogue("1.2.3").instances[0].header["00100020"]["Value"] == ["1001"]
    bench.pacs.contents["1.2.3"].series["1.2.3.1"][0] = "1.2.3.1.77"  # one replaced by another
    await bench.sweep()
    assert bench.said("1.2.3") == [("StudyAvailable", 1), ("StudyAvailable", 2)]
    assert len(bench.events()) == 6
    bench.journal.close()


async def test_study_is_withdrawn_only_after_several_whole_sweeps_and_comes_back(bench: Bench) -> None:
    bench.pacs.put("1.2.1", date=TODAY)
    bench.pacs.put("1.2.2", date=TODAY)
    await bench.sweep()
    gone = bench.pacs.contents.pop("1.2.1")
    await bench.sweep()
    await bench.sweep()
    bench.pacs.away = True
    for _ in range(3):
        with pytest.raises(PacsUnreachable):
            await bench.sweep()
    bench.pacs.away = False
    bench.restart()
    assert bench.said("1.2.1") == [("StudyAvailable", 1)]
    await bench.sweep()
    assert bench.said("1.2.1") == [("StudyAvailable", 1), ("StudyWithdrawn", 2)]
    assert bench.known.studies() == ["1.2.2"]
    assert bench.known.instances("1.2.1") == []
    await bench.sweep()
    bench.pacs.contents["1.2.1"] = gone
    await bench.sweep()
    assert bench.said("1.2.1") == [("StudyAvailable", 1), ("StudyWithdrawn", 2), ("StudyAvailable", 3)]
    assert bench.said("1.2.2") == [("StudyAvailable", 1)]


async def test_all_is_announced_again_when_the_centre_lost_it(bench: Bench) -> None:
    bench.pacs.put("1.2.1", date=TODAY)
    bench.pacs.put("1.2.2", date=OLD)
    bench.pacs.put("1.2.3", date=TODAY)
    await bench.sweep()
    del bench.pacs.contents["1.2.3"]
    for _ in range(3):
        await bench.sweep()
    assert await bench.watch.announce_again(None) == 2
    await bench.sweep()
    for uid in ("1.2.1", "1.2.2"):
        assert bench.said(uid) == [("StudyAvailable", 1), ("StudyAvailable", 2)]
    assert bench.said("1.2.3") == [("StudyAvailable", 1), ("StudyWithdrawn", 2), ("StudyWithdrawn", 3)]
    assert await bench.watch.announce_again("1.2.2") == 1
    await bench.sweep()
    assert (bench.said("1.2.2")[-1], bench.said("1.2.1")[-1]) == (("StudyAvailable", 3), ("StudyAvailable", 2))


async def test_study_counts_as_there_again_when_it_was_missed_only_now_and_then(bench: Bench) -> None:
    bench.pacs.put("1.2.1", date=TODAY)
    await bench.sweep()
    for _ in range(4):
        gone = bench.pacs.contents.pop("1.2.1")
        await bench.sweep()
        await bench.sweep()
        bench.pacs.contents["1.2.1"] = gone
        await bench.sweep()
    assert bench.said("1.2.1") == [("StudyAvailable", 1)]


async def test_all_is_announced_once_when_centre_and_pacs_were_away(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_pacs, "FIRST_DELAY_SECONDS", 0.02)
    monkeypatch.setattr(watch_pacs, "POLL_SECONDS", 0.02)
    bench.door.error = CentreUnavailable("away")
    bench.pacs.away = True
    task = asyncio.create_task(bench.watch.run())
    try:
        for n in range(20):
            bench.pacs.put(f"1.2.{n}", date=TODAY if n % 2 else OLD)
        await until(lambda: bench.pacs.questions > 3, what="the PACS asked again")
        assert bench.events() == []
        bench.pacs.away = False
        await until(lambda: bench.known.counts().waiting == 20, what="all found while the centre is away")
        bench.door.error = None
        await until(lambda: len(bench.events()) >= 20, what="all announced")
        questions = bench.pacs.questions
        await until(lambda: bench.pacs.questions > questions + 10, what="further sweeps")
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert sorted(one.study_uid for one in bench.events()) == sorted(bench.pacs.contents)
    assert {one.announcement for one in bench.events()} == {1}


async def test_history_is_announced_newest_first_in_its_window_and_recent_studies_at_once(tmp_path: Path) -> None:
    now = datetime.now()
    closed = f"{now - timedelta(minutes=90):%H:%M}-{now - timedelta(minutes=60):%H:%M}"
    bench = Bench(tmp_path, pacs_backfill_window=closed)
    for n in range(10):
        bench.pacs.put(f"1.2.{n}", date=f"20{10 + n}0101")
    bench.pacs.put("1.2.99", date=TODAY)
    await bench.sweep()
    assert [one.study_uid for one in bench.events()] == ["1.2.99"]
    counts = bench.known.counts()
    assert (counts.studies, counts.waiting, counts.backfill_done) == (11, 10, False)
    bench.watch.hint("1.2.3")
    await bench.watch._follow_hints()
    await bench.announce_all()
    assert bench.door.order == ["1.2.99", "1.2.3"]
    bench.settings.pacs_backfill_window = "00:00-24:00"
    bench.settings.pacs_backfill_per_minute = 6000
    bench.restart()
    await bench.announce_all()
    assert bench.door.order[2:] == [f"1.2.{n}" for n in (9, 8, 7, 6, 5, 4, 2, 1, 0)]
    assert bench.known.counts().backfill_done
    bench.journal.close()


async def test_history_is_announced_at_the_backfills_rate(tmp_path: Path) -> None:
    bench = Bench(tmp_path, pacs_backfill_per_minute=60)
    for n in range(10):
        bench.pacs.put(f"1.2.{n}", date=OLD)
    await bench.sweep()
    assert 1 <= len(bench.events()) <= 3
    bench.journal.close()


async def test_headers_are_asked_for_again_when_the_pacs_did_not_give_them(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_pacs, "HEADER_RETRY_SECONDS", 0.05)
    bench.pacs.put("1.2.1", date=TODAY)
    bench.pacs.headers_fail = True
    await bench.sweep()
    assert not bench.catalogue("1.2.1").instances[0].full
    bench.pacs.headers_fail = False

    async def whole() -> bool:
        await bench.announce_all()
        return bench.catalogue("1.2.1").instances[0].full

    await until(whole)
    assert bench.said("1.2.1") == [("StudyAvailable", 1), ("StudyAvailable", 2)]


async def test_one_catalogue_that_the_centre_refuses_does_not_hold_the_others(bench: Bench) -> None:
    bench.pacs.put("1.2.1", date=TODAY)
    bench.door.error = BatchRefused(413)
    await bench.sweep()
    bench.door.error = None
    bench.pacs.put("1.2.2", date=TODAY)
    await bench.sweep()
    assert [one.study_uid for one in bench.events()] == ["1.2.2"]
    bench.pacs.contents["1.2.1"].series["1.2.1.1"].pop()
    await bench.sweep()
    assert bench.said("1.2.1") == [("StudyAvailable", 1)]


def rejection_note(uid: str, code: str, *rejected: str) -> dict[str, Any]:
    """A Key Object Selection document (PS3.3 C.17.6) with a title of CID 7011."""
    title = {"00080100": {"vr": "SH", "Value": [code]}, "00080102": {"vr": "SH", "Value": ["DCM"]}}
    instances = [{"00081155": {"vr": "UI", "Value": [one]}} for one in rejected]
    series = {"00081199": {"vr": "SQ", "Value": instances}}
    return {
        "00080016": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.88.59"]},
        "00080018": {"vr": "UI", "Value": [uid]},
        "00080060": {"vr": "CS", "Value": ["KO"]},
        "0040A043": {"vr": "SQ", "Value": [title]},
        "0040A375": {"vr": "SQ", "Value": [{"00081115": {"vr": "SQ", "Value": [series]}}]},
    }


@pytest.mark.parametrize("code", ["113001", "113037", "113038", "113039"])
async def test_rejected_instances_leave_the_catalogue_and_the_note_stays(bench: Bench, code: str) -> None:
    study = bench.pacs.put("1.2.1", instances=3, date=TODAY)
    await bench.sweep()
    study.series["1.2.1.2"] = ["1.2.1.2.1"]
    study.headers["1.2.1.2.1"] = rejection_note("1.2.1.2.1", code, "1.2.1.1.1", "1.2.1.1.3")
    await bench.sweep()
    assert [one.sop_instance_uid for one in bench.catalogue("1.2.1").instances] == ["1.2.1.1.2", "1.2.1.2.1"]
    assert bench.said("1.2.1") == [("StudyAvailable", 1), ("StudyAvailable", 2)]


async def test_key_object_of_another_title_rejects_nothing(bench: Bench) -> None:
    study = bench.pacs.put("1.2.1", instances=3, date=TODAY)
    study.series["1.2.1.2"] = ["1.2.1.2.1"]
    study.headers["1.2.1.2.1"] = rejection_note("1.2.1.2.1", "113000", "1.2.1.1.1")
    await bench.sweep()
    assert len(bench.catalogue("1.2.1").instances) == 4


def arrive(bench: Bench, study_uid: str, uid: str) -> int:
    digest = hashlib.sha256(uid.encode()).hexdigest()
    bench.journal.add([Arrival(study_uid, f"{study_uid}.1", uid, digest, 100)])
    return next(one.number for one in bench.journal.to_send(study_uid, 99) if one.sop_instance_uid == uid)


async def test_forwarded_study_is_a_hint_and_its_copies_go_only_when_the_pacs_lists_them(bench: Bench) -> None:
    await bench.sweep()
    bench.pacs.put("1.2.1", instances=1, date=OLD)
    numbers = [arrive(bench, "1.2.1", "1.2.1.1.1"), arrive(bench, "1.2.1", "1.2.1.1.2")]
    await bench.forward.hint_quiet_studies(0.0)
    assert bench.events() == []
    await bench.forward.hint_quiet_studies(5.0)
    assert bench.journal.studies_to_announce() == {}
    assert await bench.watch._follow_hints()
    await bench.announce_all()
    assert bench.said("1.2.1") == [("StudyAvailable", 1)]
    bench.journal.mark_sent(numbers)
    ring = Ring(bench.settings, bench.journal, SpoolFolder(bench.root))
    entries = [
        ManifestEntry(sop_instance_uid=uid, sha256=hashlib.sha256(uid.encode()).hexdigest())
        for uid in ("1.2.1.1.1", "1.2.1.1.2")
    ]
    await ring.take_receipt(BatchStored(hospital="tcm", study_uid="1.2.1", instances=entries))
    assert {row["state"] for row in bench.journal.states_of("1.2.1")} == {"sent"}
    await bench.forward.hint_quiet_studies(20.0)
    states = {row["sop_instance_uid"]: (row["state"], row["reason"]) for row in bench.journal.states_of("1.2.1")}
    assert states == {"1.2.1.1.1": ("stored", "in-pacs"), "1.2.1.1.2": ("sent", "")}
    bench.pacs.contents["1.2.1"].series["1.2.1.1"].append("1.2.1.1.2")
    await bench.sweep()
    assert {row["state"] for row in bench.journal.states_of("1.2.1")} == {"stored"}


async def test_announcements_count_on_when_a_hospital_gets_a_pacs(bench: Bench) -> None:
    arrive(bench, "1.2.1", "1.2.1.1.1")
    bench.journal.announce(
        "1.2.1",
        lambda n, manifest, rejected: (
            "edge-events-tcm",
            StudyAvailable(
                study_uid="1.2.1", announcement=n, basis="quiet", instances=manifest, announced_at=datetime.now()
            ),
        ),
    )
    bench.pacs.put("1.2.1", date=TODAY)
    await bench.sweep()
    assert [number for _, number in bench.said("1.2.1")] == [1, 2]
