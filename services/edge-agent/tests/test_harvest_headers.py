"""Headers of a PACS that gives none are read from its instances: slowly, behind all else, and told to the centre."""

import asyncio
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from edge_agent.adapters.header_journal import HeaderJournal
from edge_agent.adapters.journal import Journal
from edge_agent.adapters.pacs.fake import CT, FakePacs
from edge_agent.adapters.pacs_journal import PacsJournal
from edge_agent.adapters.pacs_retrieve.fake import FakePacs as FakeRetriever
from edge_agent.adapters.pacs_retrieve.folder import RetrieveFolder
from edge_agent.adapters.pacs_slots import PacsSlots
from edge_agent.errors import PacsUnreachable
from edge_agent.model import RetrievedFile
from edge_agent.settings import Settings
from edge_agent.usecases.harvest_headers import HeaderHarvest
from edge_agent.usecases.watch_pacs import PacsWatch
from imaging_common.events import StudyAvailable
from imaging_common.objects.catalogue import Catalogue, catalogue_key, decode
from imaging_common.testing.waiting import until

TODAY = f"{datetime.now():%Y%m%d}"
OLD = f"{datetime.now() - timedelta(days=900):%Y%m%d}"
STUDY = "1.2.1"
ROWS = "00280010"


class FakeDoor:
    """Keeps catalogues."""

    def __init__(self) -> None:
        self.kept: dict[str, Catalogue] = {}

    async def put(self, study_uid: str, data: bytes) -> str:
        key = catalogue_key("tcm", study_uid, data)
        self.kept[key] = decode(data)
        return key


def rejection_note(uid: str, code: str, rejected: str) -> dict[str, Any]:
    """A Key Object Selection document (PS3.3 C.17.6) with a title of CID 7011."""
    title = {"00080100": {"vr": "SH", "Value": [code]}, "00080102": {"vr": "SH", "Value": ["DCM"]}}
    series = {"00081199": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": [rejected]}}]}}
    return {
        "00080018": {"vr": "UI", "Value": [uid]},
        "00080060": {"vr": "CS", "Value": ["KO"]},
        "0040A043": {"vr": "SQ", "Value": [title]},
        "0040A375": {"vr": "SQ", "Value": [{"00081115": {"vr": "SQ", "Value": [series]}}]},
    }


class Hospital:
    """A PACS without WADO-RS, what watches it, and what harvests from it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.pacs = FakePacs(gives_headers=False)
        self.door = FakeDoor()
        self.busy = False
        self.values: dict[str, Any] = {"pacs_header_instances_per_minute": 6e9}
        self.open()

    def open(self) -> None:
        settings = Settings(
            hospital="tcm", ae_title="TCM", spool_dir=self.root, ingest_url="http://127.0.0.1:1", **self.values
        )
        self.journal = Journal(self.root / "journal.sqlite")
        self.known, self.headers = PacsJournal(self.journal, "tcm"), HeaderJournal(self.journal)
        self.watch = PacsWatch(settings, self.pacs, self.known, self.door, headers=self.headers)
        self.folder = RetrieveFolder(self.root, 10**6)
        self.retriever = FakeRetriever(self.folder)
        self.slots = PacsSlots(2)
        self.harvest = HeaderHarvest(
            settings, self.headers, self.known, self.retriever, self.folder, self.slots, self.read, lambda: self.busy
        )

    def restart(self, **values: Any) -> None:
        self.journal.close()
        self.values |= values
        self.open()

    def read(self, file: RetrievedFile) -> dict[str, Any]:
        """What stands in the file: what the PACS has of it now."""
        study = self.pacs.contents[file.study_uid]
        series_uid = next(uid for uid, uids in study.series.items() if file.sop_instance_uid in uids)
        values = {
            "00080016": CT, "00080018": file.sop_instance_uid, "00100020": study.patient_id, "0020000D": file.study_uid,
            "0020000E": series_uid, ROWS: 512,
        }  # fmt: skip
        header = {tag: {"vr": "LO", "Value": [value]} for tag, value in values.items()}
        return study.headers.get(file.sop_instance_uid, header)

    async def sweep(self) -> None:
        await self.watch.sweep()
        await self.announce()

    async def announce(self) -> None:
        while await self.watch._announce_next():
            continue

    async def harvest_all(self) -> None:
        """Until nothing is left to be done now."""
        while await self.harvest.step():
            await self.announce()

    @property
    def asked(self) -> list[str]:
        return [uid for portion in self.retriever.asked for uid in portion]

    def catalogues(self, study_uid: str = STUDY) -> list[Catalogue]:
        found = [one.event for one in self.journal.next_events(1000)]
        keys = [one.catalogue_key for one in found if isinstance(one, StudyAvailable) and one.study_uid == study_uid]
        return [self.door.kept[key] for key in keys if key]


@pytest.fixture
def hospital(tmp_path: Path) -> Iterator[Hospital]:
    one = Hospital(tmp_path)
    yield one
    one.journal.close()


async def test_harvested_headers_go_to_the_centre_in_the_next_catalogue_and_nothing_else(hospital: Hospital) -> None:
    hospital.pacs.put(STUDY, instances=6, date=TODAY)
    await hospital.sweep()
    await hospital.harvest_all()
    before, after = hospital.catalogues()
    assert {one.full for one in before.instances} == {False}
    assert {(one.full, one.header[ROWS]["Value"][0]) for one in after.instances} == {(True, 512)}
    assert after.announcement == 2
    assert (hospital.folder.used, list(hospital.folder.path.iterdir())) == (0, [])
    await hospital.sweep()
    await hospital.harvest_all()
    assert (len(hospital.asked), len(hospital.catalogues())) == (6, 2)


async def test_harvest_goes_on_after_a_restart_with_what_is_missing(hospital: Hospital) -> None:
    hospital.pacs.put(STUDY, instances=6, date=TODAY)
    await hospital.sweep()
    assert await hospital.harvest.step()
    first = set(hospital.asked)
    hospital.restart()
    await hospital.harvest_all()
    assert not first & set(hospital.asked)
    assert {one.full for one in hospital.catalogues()[-1].instances} == {True}


async def test_image_that_is_added_is_the_only_one_that_is_read(hospital: Hospital) -> None:
    study = hospital.pacs.put(STUDY, instances=3, date=TODAY)
    await hospital.sweep()
    await hospital.harvest_all()
    hospital.retriever.asked.clear()
    study.series[f"{STUDY}.1"].append(f"{STUDY}.1.4")
    await hospital.sweep()
    await hospital.harvest_all()
    assert hospital.asked == [f"{STUDY}.1.4"]
    assert [one.full for one in hospital.catalogues()[-1].instances] == [True] * 4


async def test_somebodys_retrieval_breaks_it_off_at_once_and_it_waits_until_that_has_ended(hospital: Hospital) -> None:
    hospital.pacs.put(STUDY, instances=2, date=TODAY)
    await hospital.sweep()
    hospital.retriever.gate = lambda _: asyncio.Event()
    step = asyncio.create_task(hospital.harvest.step())
    await until(lambda: bool(hospital.asked), what="the first portion")
    assert hospital.slots.free == 1
    hospital.busy = True
    hospital.harvest.make_way()
    assert await step is False
    assert hospital.slots.free == 2
    hospital.retriever.gate = lambda _: None
    assert not await hospital.harvest.step()
    hospital.busy = False
    await hospital.harvest_all()
    assert {one.full for one in hospital.catalogues()[-1].instances} == {True}


async def test_rate_is_kept_and_new_studies_go_first(hospital: Hospital) -> None:
    hospital.restart(pacs_header_instances_per_minute=60.0)
    hospital.pacs.put("1.2.2", instances=1, date=OLD)
    hospital.pacs.put(STUDY, instances=1, date=TODAY)
    await hospital.sweep()
    assert await hospital.harvest.step()
    assert hospital.asked == [f"{STUDY}.1.1"]
    assert not await hospital.harvest.step(), "the next one has its turn in a second"


async def test_history_waits_for_the_night(hospital: Hospital) -> None:
    noon = datetime.now() + timedelta(hours=6)
    window = f"{noon:%H:00}-{noon + timedelta(hours=1):%H:00}"
    hospital.pacs.put("1.2.2", instances=1, date=OLD)
    hospital.pacs.put(STUDY, instances=1, date=TODAY)
    await hospital.sweep()
    hospital.restart(pacs_backfill_window=window)
    await hospital.harvest_all()
    assert hospital.asked == [f"{STUDY}.1.1"]
    hospital.restart(pacs_backfill_window="00:00-24:00")
    await hospital.harvest_all()
    assert hospital.asked == ["1.2.2.1.1"]


async def test_instance_that_does_not_come_costs_no_other_and_is_left_alone_in_the_end(hospital: Hospital) -> None:
    hospital.pacs.put(STUDY, instances=2, date=TODAY)
    await hospital.sweep()
    for _ in range(4):
        hospital.retriever.gone = {f"{STUDY}.1.1"}
        await hospital.harvest_all()
        hospital.restart()
    told = {one.sop_instance_uid: one.full for one in hospital.catalogues()[-1].instances}
    assert told == {f"{STUDY}.1.1": False, f"{STUDY}.1.2": True}
    assert hospital.headers.next_without_headers("", []) == ""


async def test_pacs_that_is_away_is_no_fault_of_the_study(hospital: Hospital) -> None:
    hospital.pacs.put(STUDY, instances=1, date=TODAY)
    await hospital.sweep()
    hospital.retriever.away = PacsUnreachable("no association")
    assert await hospital.harvest.step()
    assert not await hospital.harvest.step(), "it is asked again later"
    hospital.restart()
    await hospital.harvest_all()
    assert [one.full for one in hospital.catalogues()[-1].instances] == [True]


@pytest.mark.parametrize("code", ["113001", "113037", "113038", "113039"])
async def test_rejection_note_that_is_harvested_takes_what_it_names_out_of_the_catalogue(
    hospital: Hospital, code: str
) -> None:
    study = hospital.pacs.put(STUDY, instances=3, date=TODAY)
    note, rejected = f"{STUDY}.2.1", f"{STUDY}.1.2"
    study.series[f"{STUDY}.2"] = [note]
    study.headers[note] = rejection_note(note, code, rejected)
    await hospital.sweep()
    assert len(hospital.catalogues()[0].instances) == 4
    await hospital.harvest_all()
    left = [one.sop_instance_uid for one in hospital.catalogues()[-1].instances]
    assert left == [f"{STUDY}.1.1", f"{STUDY}.1.3", note]
    assert hospital.headers.next_without_headers("", []) == ""


async def test_header_that_the_pacs_corrected_is_harvested_anew(hospital: Hospital) -> None:
    study = hospital.pacs.put(STUDY, instances=1, date=TODAY)
    await hospital.sweep()
    await hospital.harvest_all()
    study.patient_id = "2002"
    await hospital.sweep()
    assert [(one.full, one.header["00100020"]["Value"]) for one in hospital.catalogues()[-1].instances] == [
        (False, ["2002"])
    ]
    hospital.restart()
    await hospital.harvest_all()
    assert [(one.full, one.header["00100020"]["Value"]) for one in hospital.catalogues()[-1].instances] == [
        (True, ["2002"])
    ]


async def test_rate_of_zero_harvests_nothing(hospital: Hospital) -> None:
    hospital.pacs.put(STUDY, instances=1, date=TODAY)
    await hospital.sweep()
    hospital.restart(pacs_header_instances_per_minute=0.0)
    task = asyncio.create_task(hospital.harvest.run())
    await asyncio.wait({task}, timeout=0.2)
    assert (task.done(), hospital.asked) == (False, [])
    task.cancel()


async def test_pacs_that_never_agrees_with_its_own_files_is_not_asked_for_ever(hospital: Hospital) -> None:
    study = hospital.pacs.put(STUDY, instances=1, date=TODAY)
    study.headers[f"{STUDY}.1.1"] = {"00100020": {"vr": "LO", "Value": ["4711"]}}
    await hospital.sweep()
    asked = 0
    for _ in range(5):
        await hospital.harvest_all()
        asked += len(hospital.asked)
        hospital.restart()
    assert asked == 3
    assert [one.full for one in hospital.catalogues()[-1].instances] == [False]
