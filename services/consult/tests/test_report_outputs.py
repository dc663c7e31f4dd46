"""An issued version's way: its code and task with the transition, its files, the archive, the PACS, the receipt."""

import asyncio
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import cast

import pytest

from consult.adapters.fake_consults import NO_SESSION, FakeConsultStore, FakeHospitalBook, FakePolicies, FakeStudyAccess
from consult.adapters.fake_files import FakeFiles
from consult.errors import NotFound
from consult.model import Action, Consult, Critical, State
from consult.reports.fakes import FakeArchive, FakeImages, FakeLetterheads, FakePress, FakeReportBook
from consult.reports.gathering import Gathering
from consult.reports.joiner import OutputsJoiner, critical_of
from consult.reports.making import NOWHERE, PATIENT_ATTEMPTS, Making
from consult.reports.model import Page, Stage
from consult.reports.phrases import Phrase
from consult.reports.ports import LeaseLost
from consult.reports.receipts import Receipts
from consult.reports.usecases import Reports
from consult.reports.worker import LEASE, TOLD_AFTER, Worker, delay_after
from consult.usecases import Consults, Drafts
from consult.usecases.views import time_now
from imaging_common.audit import AuditTrail
from imaging_common.events import Event, ReportDelivered, ReportWriteBackRequested, WriteBackDone
from imaging_common.messaging import FakePublisher
from imaging_common.people import FakeDirectory

from .people import COORDINATOR, DOCTOR, EXPERT, KEY_IMAGE, LEVELS, PEOPLE, STRANGER, TEXT, Desk
from .report_pages import HEADER, NOW, report

WITH_IMAGE = TEXT.model_copy(update={"key_images": [KEY_IMAGE]})


class Region(SimpleNamespace):
    """Consult with what it makes of reports, over fakes, and a clock that stands still until it is moved."""

    store: FakeConsultStore
    book: FakeReportBook
    images: FakeImages
    archive: FakeArchive
    press: FakePress
    reports: Reports
    receipts: Receipts
    worker: Worker
    desk: Desk

    def sent(self, kind: type[Event]) -> list[Event]:
        return [event for _, event, _ in self.store.sent if isinstance(event, kind)]

    async def work(self, seconds: float = 5.0) -> None:
        """Let some time pass, and let the worker do what is due then."""
        self.now += timedelta(seconds=seconds)
        while await self.worker.step():
            continue

    async def issued(self) -> Consult:
        case = await self.desk.to(State.DRAFTED)
        await self.desk.write(EXPERT, case, WITH_IMAGE)
        return await self.desk.do(EXPERT, case, Action.ISSUE)

    async def amended(self, case: Consult) -> Consult:
        case = await self.desk.do(EXPERT, case, Action.AMEND)
        case = await self.desk.write(EXPERT, case, WITH_IMAGE.model_copy(update={"impression": "左肺结节"}))
        return await self.desk.do(EXPERT, case, Action.ISSUE)

    async def answer(self, reason: str = "", hospital: str = "community") -> None:
        """The edge agent's receipt of the last command."""
        command = self.sent(ReportWriteBackRequested)[-1]
        assert isinstance(command, ReportWriteBackRequested)
        done = {"write_back_id": command.write_back_id, "consult_id": command.consult_id, "report_version": 1}
        event = WriteBackDone.model_validate({**done, "study_uid": command.study_uid, "reason": reason, "at": self.now})
        await self.receipts.take(hospital, event)


@pytest.fixture
def region() -> Region:
    one = Region(store=FakeConsultStore(), now=time_now())
    one.book, one.files = FakeReportBook(one.store), FakeFiles()
    one.images, one.archive, one.press = FakeImages(HEADER, b"jpeg"), FakeArchive(), FakePress()
    audit, directory = AuditTrail("consult", FakePublisher()), FakeDirectory(*PEOPLE)
    joiners = [OutputsJoiner(one.book)]
    consults = Consults(
        one.store, FakeHospitalBook(**LEVELS), audit, directory, FakePolicies(), FakeStudyAccess(), joiners
    )
    one.desk = Desk(consults, Drafts(one.store, consults))

    def clock() -> datetime:
        return cast(datetime, one.now)

    gathering = Gathering(one.book, one.images, FakeLetterheads(), "https://portal.example/", "Asia/Shanghai")
    making = Making(one.store, one.book, one.files, gathering, one.press, one.archive)
    one.worker, one.receipts = Worker(one.book, making, clock), Receipts(one.book, making, clock)
    one.reports = Reports(consults, one.store, one.book, one.book, one.files, making, audit, clock)
    return one


async def test_issued_report_is_printed_filed_and_sent_to_the_applicants_hospital(region: Region) -> None:
    case = await region.issued()
    assert case.report is not None
    with pytest.raises(NotFound):
        await region.reports.pdf(DOCTOR, case.id, 1)
    await region.work()
    (page,) = region.press.pages
    assert page.verify_url == f"https://portal.example/verify/{case.report.verification_code}"
    assert (page.letterhead.name_zh, page.pictures[0].jpeg) == ("secondary", b"jpeg")
    ((study, files, user, hospital),) = region.archive.stored
    assert (study.holder, len(files), user, hospital) == ("community", 2, EXPERT.user, "secondary")
    (command,) = region.sent(ReportWriteBackRequested)
    assert isinstance(command, ReportWriteBackRequested)
    assert (command.holder, len(command.instances)) == ("community", 2)
    for person in (DOCTOR, EXPERT, COORDINATOR):
        name, chunks = await region.reports.pdf(person, case.id, 1)
        assert (name, b"".join([chunk async for chunk in chunks])[:5]) == (f"{case.number}-v1.pdf", b"%PDF-")
    kept = region.store.consults[case.id]
    assert kept.version == case.version
    assert kept.report is not None
    assert (kept.report.outputs.stored, kept.report.outputs.delivery) == (True, "requested")
    task = region.book.tasks[f"{case.id}/1"]
    assert task.page is not None
    assert task.page.pictures[0].jpeg is None


@pytest.mark.parametrize(
    ("reason", "delivery", "events"),
    [("", "stored", ["stored"]), ("no-pacs", "no-pacs", []), ("pacs-refused", "failed", ["failed"])],
)
async def test_receipt_is_kept_and_told_once(region: Region, reason: str, delivery: str, events: list[str]) -> None:
    case = await region.issued()
    await region.work()
    await region.answer(reason, hospital="tcm")
    assert (await region.reports.version(DOCTOR, case.id, 1)).outputs.delivery == "requested"
    for _ in range(2):
        await region.answer(reason)
    outputs = (await region.reports.version(DOCTOR, case.id, 1)).outputs
    assert (outputs.delivery, outputs.delivered_at is not None) == (delivery, delivery == "stored")
    told = [one for one in region.sent(ReportDelivered) if isinstance(one, ReportDelivered)]
    assert [one.outcome for one in told] == events
    assert all(one.report_version == 1 and one.version.n == case.version for one in told)


async def test_what_the_pacs_refused_is_sent_again_when_somebody_asks(region: Region) -> None:
    case = await region.issued()
    await region.work()
    await region.answer("pacs-unreachable")
    assert (await region.reports.version(DOCTOR, case.id, 1)).outputs.failure == "pacs-unreachable"
    assert (await region.reports.retry(DOCTOR, case.id, 1)).outputs.failure == ""
    await region.work()
    first, second = region.sent(ReportWriteBackRequested)
    assert isinstance(first, ReportWriteBackRequested)
    assert first.write_back_id == getattr(second, "write_back_id", "")
    await region.answer()
    assert (await region.reports.version(DOCTOR, case.id, 1)).outputs.delivery == "stored"
    with pytest.raises(NotFound):
        await region.reports.retry(STRANGER, case.id, 1)


async def test_later_version_keeps_the_earlier_one_and_says_what_changed(region: Region) -> None:
    case = await region.issued()
    await region.work()
    case = await region.amended(case)
    await region.work()
    assert [one.version for one in await region.reports.versions(DOCTOR, case.id)] == [1, 2]
    changed = await region.reports.difference(DOCTOR, case.id, 1, 2)
    assert [one.field for one in changed.fields if one.changed] == ["impression"]
    codes = [one.verification_code for one in await region.reports.versions(DOCTOR, case.id)]
    first, second = [await region.reports.verify(code.lower()) for code in codes]
    assert (first.version, first.superseded, first.latest_version) == (1, True, 2)
    assert (second.version, second.superseded, second.hospital) == (2, False, "secondary")
    assert set(type(first).model_fields) == {
        "number", "version", "issued_at", "hospital", "latest_version", "superseded",
    }  # fmt: skip
    assert [one.reason_of_next for one in region.press.pages[-1].earlier] == ["左右写反"]
    uids = {one.outputs.pdf_instance_uid for one in await region.reports.versions(DOCTOR, case.id)}
    assert len(uids) == 2
    for code in ("", "nothing", "0" * 20):
        with pytest.raises(NotFound):
            await region.reports.verify(code)


async def test_nobody_else_reads_any_of_it(region: Region) -> None:
    case = await region.issued()
    await region.work()
    for ask in (
        region.reports.versions(STRANGER, case.id),
        region.reports.version(STRANGER, case.id, 1),
        region.reports.pdf(STRANGER, case.id, 1),
        region.reports.difference(STRANGER, case.id, 1, 1),
        region.reports.version(DOCTOR, case.id, 7),
    ):
        with pytest.raises(NotFound):
            await ask


async def test_outage_is_waited_out_and_told_only_when_it_lasts(region: Region) -> None:
    region.archive.away = True
    case = await region.issued()
    for attempt in range(1, TOLD_AFTER + 1):
        await region.work(400)
        failure = (await region.reports.version(DOCTOR, case.id, 1)).outputs.failure
        assert bool(failure) == (attempt == TOLD_AFTER)
    region.archive.away = False
    await region.reports.retry(DOCTOR, case.id, 1)
    await region.work(0)
    outputs = (await region.reports.version(DOCTOR, case.id, 1)).outputs
    assert (outputs.stored, outputs.failure, len(region.press.pages)) == (True, "", 1)


async def test_picture_that_does_not_come_is_waited_for_and_then_left_out(region: Region) -> None:
    region.images.jpeg = None
    case = await region.issued()
    for _ in range(PATIENT_ATTEMPTS):
        await region.work(400)
        assert not region.press.pages
    await region.work(400)
    assert region.press.pages[0].pictures[0].jpeg is None
    assert (await region.reports.version(DOCTOR, case.id, 1)).outputs.stored


async def test_study_that_is_gone_leaves_a_printed_report_and_says_so(region: Region) -> None:
    region.images.known = None
    case = await region.issued()
    for _ in range(PATIENT_ATTEMPTS + 1):
        await region.work(400)
    outputs = (await region.reports.version(DOCTOR, case.id, 1)).outputs
    assert (outputs.stored, outputs.failure, bool(outputs.pdf_sha256)) == (False, NOWHERE, True)
    region.images.known = HEADER
    await region.reports.retry(DOCTOR, case.id, 1)
    await region.work()
    assert (await region.reports.version(DOCTOR, case.id, 1)).outputs.stored


async def test_another_copy_takes_over_after_the_lease_and_the_slow_one_changes_nothing(region: Region) -> None:
    case = await region.issued()
    region.now += timedelta(seconds=5)
    slow = await region.book.claim(region.now, region.now + LEASE)
    assert slow is not None
    assert not await region.worker.step()
    await region.work(LEASE.total_seconds())
    assert region.book.tasks[slow.id].stage is Stage.DONE
    with pytest.raises(LeaseLost):
        await region.book.keeping(slow, slow.due_at)(NO_SESSION)
    assert len(region.archive.stored) == 1
    assert len(region.sent(ReportWriteBackRequested)) == 1
    assert case.id == slow.consult_id


async def test_study_of_another_hospital_is_filed_there_and_not_sent_to_the_applicants_pacs(region: Region) -> None:
    study = {"study_uid": "1.2.3", "holder": "tcm"}
    case = await region.desk.to(State.ISSUED, studies=[study])
    await region.work()
    ((filed, _, _, _),) = region.archive.stored
    assert filed.holder == "tcm"
    assert region.sent(ReportWriteBackRequested) == []
    outputs = (await region.reports.version(DOCTOR, case.id, 1)).outputs
    assert (outputs.stored, outputs.delivery) == (True, "")


async def test_everybody_has_their_own_phrases(region: Region) -> None:
    await region.reports.keep_phrases(EXPERT, [Phrase(short="肺正", text="两肺未见异常")])
    assert [one.short for one in await region.reports.phrases(EXPERT)] == ["肺正"]
    assert await region.reports.phrases(DOCTOR) == []


def test_critical_value_begins_its_chain_and_is_not_asked_again_once_confirmed() -> None:
    told = report(critical=True, critical_text="气胸")
    first = critical_of(None, told, NOW)
    assert first == Critical(text="气胸", report_version=1, raised_at=NOW)
    confirmed = first.model_copy(update={"acknowledged_at": NOW, "acknowledged_by": "doctor.community"})
    assert critical_of(confirmed, told, NOW) == confirmed
    assert critical_of(first, report(), NOW) is None
    assert critical_of(confirmed, report(), NOW) == confirmed
    other = critical_of(confirmed, report(critical=True, critical_text="血胸", version=2), NOW)
    assert (other and other.report_version, other and other.acknowledged_at) == (2, None)


async def test_case_with_a_critical_value_waits_for_its_confirmation(region: Region) -> None:
    case = await region.desk.to(State.DRAFTED)
    await region.desk.write(EXPERT, case, TEXT.model_copy(update={"critical": True, "critical_text": "气胸"}))
    case = await region.desk.do(EXPERT, case, Action.ISSUE)
    assert case.critical is not None
    case = await region.desk.do(DOCTOR, await region.desk.consults.get(DOCTOR, case.id), Action.ACKNOWLEDGE_CRITICAL)
    assert case.critical is not None
    assert case.critical.acknowledged_by == DOCTOR.user


def test_waiting_grows_and_ends() -> None:
    assert [delay_after(n).total_seconds() for n in (1, 2, 5, 40)] == [2.0, 4.0, 32.0, 300.0]


async def test_a_copy_that_ends_in_the_middle_leaves_its_report_to_the_next_one(region: Region) -> None:
    """Without waiting until the claim runs out: a doctor would wait five minutes for the PDF after each upgrade."""
    await region.issued()
    printing = asyncio.Event()
    print_page = region.press.print

    async def hang(page: Page) -> bytes:
        printing.set()
        await asyncio.Event().wait()
        return b""

    region.press.print = hang  # type: ignore[method-assign]
    region.now += timedelta(seconds=5)
    step = asyncio.create_task(region.worker.step())
    async with asyncio.timeout(10):
        await printing.wait()
    step.cancel()
    with pytest.raises(asyncio.CancelledError):
        await step
    region.press.print = print_page  # type: ignore[method-assign]
    await region.work(seconds=0)
    assert len(region.press.pages) == 1
