"""Reports in the index on a real MongoDB: versions in any order, matched by UID, accession or a person."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import orjson
import pytest

from gateway.adapters.reports import MongoStatements
from imaging_common import mongo
from imaging_common.events import ReportMatched, StudyChanged
from imaging_common.index.reports import ReportIndex
from imaging_common.messaging.outbox import Outbox
from imaging_common.objects.model import Manifest, StoredInstance, batch_key, manifest_key
from imaging_common.objects.reports import ReportManifest, report_key, report_manifest_key, report_object_key
from imaging_common.objects.store import FakeObjectStore
from imaging_common.settings import ServiceSettings
from indexer.adapters.mongo_index import MongoIndex
from indexer.adapters.mongo_reports import MongoReports
from indexer.usecases.index_manifest import IndexManifest
from indexer.usecases.index_report import IndexReport

NOW = datetime(2026, 11, 24, 8, tzinfo=UTC)
HOSPITAL = "community"
CT, SR, PDF = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.88.22", "1.2.840.10008.5.1.4.1.1.104.1"


class Bench:
    """The report use cases on a database of their own."""

    def __init__(self, client: Any, database: Any) -> None:
        self.database = database
        self.outbox = Outbox(database)
        self.index = MongoIndex(client, database, self.outbox)
        self.mongo_reports = MongoReports(database)
        self.store = FakeObjectStore()
        self.reports = IndexReport(self.index, self.mongo_reports, self.store, now=lambda: NOW)
        self.reader = ReportIndex.on(database)

    async def study(
        self, uid: str, *, accession: str = "", patient: str = "P-1", classes: tuple[str, ...] = (CT,)
    ) -> None:
        """A study arrives with an instance of each SOP class."""
        instances = [self._instance(uid, number, sop, accession, patient) for number, sop in enumerate(classes)]
        identity = hashlib.sha256(f"{uid}{classes}{accession}".encode()).hexdigest()
        key = batch_key(HOSPITAL, uid, identity)
        manifest = Manifest(
            kind="batch", hospital=HOSPITAL, study_uid=uid, id=identity, data_key=key, instances=instances
        )
        await IndexManifest(self.index, 60)(manifest, manifest_key(key))

    def _instance(self, study: str, number: int, sop_class: str, accession: str, patient: str) -> StoredInstance:
        header: dict[str, Any] = {
            "00080020": {"vr": "DA", "Value": ["20261124"]},
            "00080050": {"vr": "SH", "Value": [accession]},
            "00100020": {"vr": "LO", "Value": [patient]},
        }
        if sop_class == SR:
            text = {"0040A040": {"vr": "CS", "Value": ["TEXT"]}, "0040A160": {"vr": "UT", "Value": ["右肺结节"]}}
            name = {"00080100": {"vr": "SH", "Value": ["121073"]}, "00080104": {"vr": "LO", "Value": ["Impression"]}}
            header |= {
                "0040A730": {"vr": "SQ", "Value": [text | {"0040A043": {"vr": "SQ", "Value": [name]}}]},
                "0040A491": {"vr": "CS", "Value": ["COMPLETE"]},
                "0040A493": {"vr": "CS", "Value": ["VERIFIED"]},
            }
        return StoredInstance(
            sop_instance_uid=f"{study}.{number}",
            sop_class_uid=sop_class,
            series_uid=f"{study}.9",
            transfer_syntax_uid="1.2.840.10008.1.2.1",
            sha256=hashlib.sha256(f"{study}/{number}/{accession}".encode()).hexdigest(),
            original_length=100,
            offset=0,
            length=100,
            header=header,
        )

    async def report(self, text: str = "未见异常", *, after: int = 0, received: int | None = None, **more: Any) -> str:
        """A version of report F7 lies in the archive and is indexed; its key."""
        sha256 = hashlib.sha256(text.encode()).hexdigest()
        report_id = more.pop("report_id", "F7")
        key = report_key(HOSPITAL, report_id)
        data_key = report_object_key(HOSPITAL, key, sha256)
        fields: dict[str, Any] = {
            "hospital": HOSPITAL, "report_key": key, "report_id": report_id, "sha256": sha256, "data_key": data_key,
            "kind": "hl7-oru", "media_type": "x", "status": "final", "issued_at": NOW + timedelta(minutes=after),
            "received_at": NOW + timedelta(minutes=after if received is None else received), "patient_id": "P-1",
            "patient_name": "=王^小东", "impression": text,
        }  # fmt: skip
        manifest = ReportManifest(**{**fields, **more})
        await self.store.put("archive", report_manifest_key(data_key), manifest.model_dump_json().encode())
        await self.reports.take(report_manifest_key(data_key))
        return key

    async def one(self, key: str) -> Any:
        found = await self.reader.report(HOSPITAL, key)
        assert found is not None
        return found

    async def counts(self, uid: str) -> tuple[int, int]:
        """What the study says, and what the last event said."""
        study = await self.database["studies"].find_one({"_id": f"{HOSPITAL}/{uid}"})
        last = await self.database["events"].find({"key": uid}).sort("n", -1).limit(1).to_list()
        event = StudyChanged.model_validate_json(last[0]["data"])
        assert event.version.n == study["version"]["n"]
        return study["report_count"], event.report_count


@pytest.fixture
async def bench(servers: Any) -> AsyncIterator[Bench]:
    client = mongo.connect(ServiceSettings(mongo_url=servers.mongodb.url("root")))
    database = client[f"reports-{uuid4().hex[:8]}"]
    one = Bench(client, database)
    await one.index.prepare()
    await one.mongo_reports.prepare()
    yield one
    await client.drop_database(database)
    await client.close()


async def test_report_is_matched_by_uid_and_its_study_says_so(bench: Bench) -> None:
    await bench.study("1.2.1")
    key = await bench.report(study_uid="1.2.1")
    report = await bench.one(key)
    assert (report.matched, report.study_key, report.versions) == ("uid", "community/1.2.1", 1)
    assert await bench.counts("1.2.1") == (1, 1)
    version = (await bench.database["studies"].find_one({"_id": "community/1.2.1"}))["version"]
    await bench.report(study_uid="1.2.1")
    assert (await bench.database["studies"].find_one({"_id": "community/1.2.1"}))["version"] == version


async def test_versions_end_the_same_in_whatever_order_they_come(bench: Bench) -> None:
    await bench.study("1.2.1")
    await bench.report("更正：右肺结节", after=10, received=1, status="amended", study_uid="1.2.1")
    key = await bench.report("未见异常", after=5, received=2, study_uid="1.2.1")
    report = await bench.one(key)
    assert (report.status, report.impression, report.versions) == ("amended", "更正：右肺结节", 2)
    await bench.report("作废", after=10, received=3, status="cancelled", study_uid="1.2.1")
    report = await bench.one(key)
    assert report.status == "cancelled"
    assert [v.status for v in await bench.reader.versions_of(report)] == ["cancelled", "amended", "final"]
    assert await bench.counts("1.2.1") == (1, 1)


async def test_accession_matches_one_study_of_the_same_patient_only(bench: Bench) -> None:
    await bench.study("1.2.1", accession="A1")
    await bench.study("1.2.2", accession="A2", patient="P-2")
    await bench.study("1.2.3", accession="A3")
    await bench.study("1.2.4", accession="A3")
    found = {a: await bench.one(await bench.report(a, report_id=a, accession=a)) for a in ("A1", "A2", "A3")}
    assert {a: (r.matched, r.study_key) for a, r in found.items()} == {
        "A1": ("accession", "community/1.2.1"),
        "A2": ("review", None),
        "A3": ("review", None),
    }


async def test_report_that_came_before_its_images_finds_them(bench: Bench) -> None:
    by_uid = await bench.report("甲", report_id="F1", study_uid="1.2.1")
    by_accession = await bench.report("乙", report_id="F2", accession="A1")
    never = await bench.report("丙", report_id="F3")
    assert {(await bench.one(key)).matched for key in (by_uid, by_accession, never)} == {"review"}
    await bench.study("1.2.1", accession="A1")
    await bench.reports.round()
    assert [(await bench.one(key)).matched for key in (by_uid, by_accession, never)] == ["uid", "accession", "review"]
    assert await bench.counts("1.2.1") == (2, 2)
    assert await bench.reports.rematch_all() == 0


async def test_persons_word_wins_until_a_newer_one(bench: Bench) -> None:
    await bench.study("1.2.1")
    await bench.study("1.2.2")
    key = await bench.report(study_uid="1.2.1")

    async def say(study_uid: str | None, revision: int) -> None:
        await bench.reports.match(
            ReportMatched(hospital=HOSPITAL, report_key=key, study_uid=study_uid, revision=revision, user="o")
        )

    await say("1.2.2", 2)
    await say("1.2.1", 1)
    await bench.report("更正", after=9, status="amended", study_uid="1.2.1")
    report = await bench.one(key)
    assert (report.matched, report.study_key, report.match_revision) == ("operator", "community/1.2.2", 2)
    assert await bench.counts("1.2.1") == (0, 0)
    assert await bench.counts("1.2.2") == (1, 1)
    await say(None, 3)
    assert (await bench.one(key)).study_key is None
    assert await bench.counts("1.2.2") == (0, 0)


async def test_counts_are_right_when_many_reports_come_at_once(bench: Bench) -> None:
    await bench.study("1.2.1")
    await asyncio.gather(*(bench.report(f"{n}", report_id=f"F{n}", study_uid="1.2.1") for n in range(12)))
    assert await bench.counts("1.2.1") == (12, 12)


async def test_killed_between_report_and_count_is_made_good(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    await bench.study("1.2.1")

    async def killed(*_: Any) -> None:
        raise ConnectionError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(bench.reports, "_count", killed)
        with pytest.raises(ConnectionError):
            await bench.report(study_uid="1.2.1")
    assert (await bench.counts("1.2.1"))[0] == 0
    await bench.reports.round()
    assert await bench.counts("1.2.1") == (1, 1)


async def test_event_that_was_lost_is_found_in_the_archive(bench: Bench) -> None:
    await bench.study("1.2.1")
    key = await bench.report(study_uid="1.2.1")
    await bench.database["reports"].drop()
    await bench.database["report_versions"].drop()
    await bench.store.put("archive", "community/reports/bad/x.json", b"{")
    assert await bench.reports.sweep() == 2
    assert (await bench.one(key)).matched == "uid"


async def test_dicom_documents_are_reports_of_their_study(bench: Bench) -> None:
    await bench.study("1.2.1", classes=(CT, SR, PDF))
    assert await bench.reports.round() == 2
    found = {r.kind: r for r in await bench.reader.of_study("community/1.2.1")}
    assert found["dicom-sr"].impression == "右肺结节"
    assert (found["dicom-sr"].status, found["dicom-pdf"].media_type) == ("final", "application/pdf")
    assert await bench.counts("1.2.1") == (2, 2)
    assert await bench.reports.round() == 0

    async def correct(unit: Any) -> None:
        (served,) = await unit.wholes(["1.2.1.1"])
        header = served["header"].replace("右肺结节".encode(), "左肺结节".encode())
        await unit.amend({"1.2.1.1": {"header": header, "sop_class_uid": ""}})
        named = header.replace(b"{", b'{"00080016":{"Value":["%s"]},' % SR.encode(), 1)
        await unit.amend({"1.2.1.1": {"header": named}})

    await bench.index.change(HOSPITAL, "1.2.1", correct)
    assert await bench.reports.round() == 1
    (corrected,) = [r for r in await bench.reader.of_study("community/1.2.1") if r.kind == "dicom-sr"]
    assert (corrected.versions, corrected.impression) == (2, "左肺结节")

    async def remove(unit: Any) -> None:
        await unit.remove(["1.2.1.1"])

    await bench.index.change(HOSPITAL, "1.2.1", remove)
    assert await bench.reports.round() == 1
    assert [r.kind for r in await bench.reader.of_study("community/1.2.1")] == ["dicom-pdf"]
    assert await bench.counts("1.2.1") == (1, 1)


async def test_statement_of_the_portal_is_told_once_and_in_order(bench: Bench) -> None:
    outbox = Outbox(bench.database, "statements")
    statements = MongoStatements(bench.database, outbox)
    key = report_key(HOSPITAL, "F7")
    done = await asyncio.gather(*(statements.state(HOSPITAL, key, f"1.2.{n}", "o", 0) for n in range(4)))
    assert sorted(done) == [False, False, False, True]
    assert await statements.state(HOSPITAL, key, None, "o", 1)
    rows = await bench.database["statements"].find({"key": key}).sort("n", 1).to_list()
    assert [orjson.loads(row["data"])["revision"] for row in rows] == [1, 2]
