"""Storage commitment and instance availability notices, asked by a pynetdicom SCU (DCMTK has none)."""

import asyncio
import queue
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, generate_uid
from pynetdicom import AE, evt
from pynetdicom.sop_class import InstanceAvailabilityNotification, StorageCommitmentPushModel

from edge_agent.model import Arrival
from edge_agent.services.commitment import judge
from imaging_common.events import ManifestEntry
from imaging_common.testing.waiting import until

PUSH_MODEL_INSTANCE = "1.2.840.10008.1.20.1.1"
Reports = "queue.Queue[tuple[int, Dataset]]"


def request(*uids: str) -> Dataset:
    asked = Dataset()
    asked.TransactionUID = generate_uid()
    asked.ReferencedSOPSequence = []
    for uid in uids:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CTImageStorage, uid
        asked.ReferencedSOPSequence.append(item)
    return asked


def arrive(station: Any, *uids: str) -> None:
    station.journal.add(
        [Arrival("1.2.3", "1.2.3.1", uid, uid.replace(".", "").ljust(64, "0")[:64], 10) for uid in uids]
    )


def receipt(station: Any, *uids: str) -> None:
    entries = [ManifestEntry(sop_instance_uid=uid, sha256=uid.replace(".", "").ljust(64, "0")[:64]) for uid in uids]
    station.journal.mark_stored("1.2.3", entries)


class Modality:
    """Asks for commitment; keeps the reports it gets, on whichever association."""

    def __init__(self, station: Any, ae_title: str = "STORESCP") -> None:
        self._station = station
        self.reports: queue.Queue[tuple[int, Dataset]] = queue.Queue()
        self._ae = AE(ae_title)
        self._ae.add_requested_context(StorageCommitmentPushModel)
        self._ae.add_supported_context(StorageCommitmentPushModel, scu_role=False, scp_role=True)
        self._handlers = [(evt.EVT_N_EVENT_REPORT, self._take)]

    def _take(self, event: Any) -> tuple[int, None]:
        self.reports.put((event.event_type, event.event_information))
        return 0x0000, None

    @contextmanager
    def association(self) -> Iterator[Any]:
        opened = self._ae.associate("127.0.0.1", self._station.port, ae_title="COMMUNITY", evt_handlers=self._handlers)
        assert opened.is_established
        try:
            yield opened
        finally:
            opened.release()

    @contextmanager
    def listening(self) -> Iterator[None]:
        address = ("127.0.0.1", self._station.workstation_port)
        server = self._ae.start_server(address, block=False, evt_handlers=self._handlers)
        try:
            yield
        finally:
            server.shutdown()

    async def report(self) -> tuple[int, Dataset]:
        return await asyncio.to_thread(self.reports.get, timeout=20)


def ask(association: Any, asked: Dataset) -> int:
    status, _ = association.send_n_action(asked, 1, StorageCommitmentPushModel, PUSH_MODEL_INSTANCE)
    return int(status.Status)


async def test_success_is_said_on_the_same_association_only_after_the_archives_receipt(station: Any) -> None:
    arrive(station, "1.2.3.4", "1.2.3.5")
    receipt(station, "1.2.3.4")
    modality, asked = Modality(station), request("1.2.3.4", "1.2.3.5")
    with modality.association() as association:
        assert ask(association, asked) == 0x0000
        await until(lambda: station.journal.rows("SELECT 1 FROM commitments WHERE next_at > received_at") != [])
        assert modality.reports.empty()
        receipt(station, "1.2.3.5")
        kind, report = await modality.report()
    assert (kind, report.TransactionUID, "FailedSOPSequence" in report) == (1, asked.TransactionUID, False)
    assert [item.ReferencedSOPInstanceUID for item in report.ReferencedSOPSequence] == ["1.2.3.4", "1.2.3.5"]


async def test_failure_names_each_instance_and_is_brought_over_an_association_of_its_own(station: Any) -> None:
    arrive(station, "1.2.3.4", "1.2.3.5")
    receipt(station, "1.2.3.4")
    modality = Modality(station)
    with modality.association() as association:
        assert ask(association, request("1.2.3.4", "1.2.3.5", "1.2.3.6")) == 0x0000
    with modality.listening():
        kind, report = await modality.report()
    assert kind == 2
    assert [item.ReferencedSOPInstanceUID for item in report.ReferencedSOPSequence] == ["1.2.3.4"]
    failed = {item.ReferencedSOPInstanceUID: item.FailureReason for item in report.FailedSOPSequence}
    assert failed == {"1.2.3.5": 0x0110, "1.2.3.6": 0x0112}


async def test_request_outlives_the_process(station: Any) -> None:
    arrive(station, "1.2.3.4")
    modality = Modality(station)
    with modality.association() as association:
        assert ask(association, request("1.2.3.4")) == 0x0000
    station.process._process.kill()
    receipt(station, "1.2.3.4")
    with modality.listening():
        kind, _ = await modality.report()
    assert kind == 1


async def test_request_that_names_nothing_is_refused(station: Any) -> None:
    with Modality(station).association() as association:
        assert ask(association, request()) == 0x0115


def test_instance_that_only_was_rejected_fails_at_once_and_one_on_its_way_is_waited_for() -> None:
    items = [("1.1", "1"), ("1.1", "2"), ("1.1", "3")]
    states = {"1": {"rejected"}, "2": {"sent"}, "3": {"rejected", "stored"}}
    verdict = judge(items, states, late=False)
    assert (verdict.stored, verdict.failed, verdict.waiting) == ([("1.1", "3")], [(("1.1", "1"), 0x0110)], 1)
    assert judge(items, states, late=True).failed[1] == (("1.1", "2"), 0x0110)


async def test_notice_of_availability_is_a_hint_to_the_watcher(station: Any) -> None:
    ae = AE("PACS")
    ae.add_requested_context(InstanceAvailabilityNotification)
    association = ae.associate("127.0.0.1", station.port, ae_title="COMMUNITY")
    notice = Dataset()
    notice.StudyInstanceUID = "1.2.3.4.5"
    status, _ = association.send_n_create(notice, InstanceAvailabilityNotification, generate_uid())
    assert status.Status == 0x0000
    notice.StudyInstanceUID = ""
    status, _ = association.send_n_create(notice, InstanceAvailabilityNotification, generate_uid())
    assert status.Status == 0x0120
    association.release()
    await until(lambda: station.hints == ["1.2.3.4.5"], what="the hint")
