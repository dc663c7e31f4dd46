"""Storage commitment (PS3.4 J): asked by N-ACTION, kept durably, reported by N-EVENT-REPORT once the archive has it.

Success is said only of instances whose receipt from the archive is in the journal.
"""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import build_context, build_role
from pynetdicom.association import Association
from pynetdicom.sop_class import StorageCommitmentPushModel

from edge_agent.adapters.commitment_journal import CommitmentJournal, Reference, Transaction
from edge_agent.model import State
from imaging_common.dicom.association import make_ae
from imaging_common.ids import is_uid
from imaging_common.telemetry import get_logger

_log = get_logger(__name__)
PUSH_MODEL_INSTANCE = "1.2.840.10008.1.20.1.1"
SUCCESS, NO_SUCH_ARGUMENT, NO_SUCH_ACTION, PROCESSING_FAILURE = 0x0000, 0x0115, 0x0123, 0x0110
NO_SUCH_OBJECT = 0x0112
TICK_SECONDS = 0.5
LOOK_SECONDS = 1.0
FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS = 5.0, 600.0
MAX_ITEMS = 50_000
Peer = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is said of a transaction's instances; `waiting`: nothing yet."""

    stored: list[Reference]
    failed: list[tuple[Reference, int]]
    waiting: int


def judge(items: list[Reference], states: Mapping[str, set[str]], *, late: bool) -> Verdict:
    """Which instances are committed (PS3.4 J.3.3).

    Parameters
    ----------
    states
        States in the journal by SOP Instance UID.
    late
        Nobody waits for receipts any longer.
    """
    stored, failed, waiting = [], [], 0
    for item in items:
        known = states.get(item[1], set())
        if State.STORED in known:
            stored.append(item)
        elif not known:
            failed.append((item, NO_SUCH_OBJECT))
        elif late or known == {State.REJECTED}:
            failed.append((item, PROCESSING_FAILURE))
        else:
            waiting += 1
    return Verdict(stored, failed, waiting)


class CommitmentService:
    """Takes requests, and reports from a thread of its own.

    Parameters
    ----------
    peers
        AE title → (AE title, host, port): where a report can be brought.
    wait_seconds
        How long receipts are waited for.
    attempts
        Reports that may fail before a transaction is given up.
    """

    def __init__(
        self, journal: CommitmentJournal, ae_title: str, peers: Mapping[str, Peer], wait_seconds: float, attempts: int
    ) -> None:
        self._journal = journal
        self._ae_title = ae_title
        self._peers = peers
        self._wait_seconds = wait_seconds
        self._attempts = attempts
        self._open: dict[tuple[str, str], Association] = {}
        self._stop = threading.Event()
        self._news = threading.Event()

    def start(self) -> None:
        """Begin to report."""
        threading.Thread(target=self._report_forever, name="commitment", daemon=True).start()

    def stop(self) -> None:
        """Report no more."""
        self._stop.set()
        self._news.set()

    def request(self, event: Any) -> tuple[int, Dataset | None]:
        """On N-ACTION Request Storage Commitment (PS3.4 J.3.2.1): durable, then 0x0000."""
        if event.action_type != 1:
            return NO_SUCH_ACTION, None
        try:
            asked = event.action_information
            transaction = str(asked.TransactionUID)
            items = [
                (str(item.ReferencedSOPClassUID), str(item.ReferencedSOPInstanceUID))
                for item in asked.ReferencedSOPSequence
            ]
        except Exception as error:
            _log.warning("commitment-not-read", error=type(error).__name__)
            return NO_SUCH_ARGUMENT, None
        if not items or len(items) > MAX_ITEMS or not all(map(is_uid, [transaction, *(uid for _, uid in items)])):
            return NO_SUCH_ARGUMENT, None
        association = event.assoc
        caller = str(association.requestor.ae_title).strip()
        self._open[(caller, transaction)] = association
        self._journal.add(caller, str(association.requestor.address), transaction, items, time.time())
        _log.info("commitment-requested", instances=len(items))
        return SUCCESS, None

    def _report_forever(self) -> None:
        while not self._stop.is_set():
            try:
                self.report_due()
            except Exception as error:  # a disk that is full now may work later
                _log.error("commitment-failed", error=type(error).__name__)
            self._stop.wait(TICK_SECONDS)

    def report_due(self) -> None:
        """Report what can be reported now."""
        for gone in [key for key, association in self._open.items() if not association.is_established]:
            self._open.pop(gone, None)
        now = time.time()
        for transaction in self._journal.due(now):
            late = now - transaction.received_at >= self._wait_seconds
            states = self._journal.states([uid for _, uid in transaction.items])
            verdict = judge(transaction.items, states, late=late)
            if verdict.waiting:
                self._journal.postpone(transaction.number, now + LOOK_SECONDS, attempted=False)
                continue
            self._report(transaction, verdict, now)

    def _report(self, transaction: Transaction, verdict: Verdict, now: float) -> None:
        report = _report_of(transaction, verdict, self._ae_title)
        kind = 2 if verdict.failed else 1
        if self._deliver(transaction, report, kind):
            self._open.pop((transaction.ae_title, transaction.transaction_uid), None)
            self._journal.end(transaction.number, "failure" if verdict.failed else "success")
            _log.info("commitment-reported", stored=len(verdict.stored), failed=len(verdict.failed))
        elif transaction.attempts + 1 >= self._attempts:
            self._journal.end(transaction.number, "undelivered")
            _log.error("commitment-undelivered", caller=transaction.ae_title, attempts=self._attempts)
        else:
            wait = min(LAST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2**transaction.attempts)
            self._journal.postpone(transaction.number, now + wait, attempted=True)

    def _deliver(self, transaction: Transaction, report: Dataset, kind: int) -> bool:
        """On the association of the request while it is open, else on one of our own (PS3.4 J.3.3.1)."""
        same = self._open.get((transaction.ae_title, transaction.transaction_uid))
        if same is not None and same.is_established and _tell(same, report, kind):
            return True
        peer = self._peers.get(transaction.ae_title)
        if peer is None:
            _log.warning("commitment-peer-unknown", caller=transaction.ae_title)
            return False
        ae_title, host, port = peer
        ae = make_ae(self._ae_title)
        ae.connection_timeout = 10
        association = ae.associate(
            host,
            port,
            contexts=[build_context(StorageCommitmentPushModel)],
            ae_title=ae_title,
            ext_neg=[build_role(StorageCommitmentPushModel, scp_role=True)],
        )
        if not association.is_established:
            return False
        try:
            return _tell(association, report, kind)
        finally:
            if association.is_established:
                association.release()


def _tell(association: Association, report: Dataset, kind: int) -> bool:
    try:
        status, _ = association.send_n_event_report(report, kind, StorageCommitmentPushModel, PUSH_MODEL_INSTANCE)
    except (RuntimeError, ValueError, OSError) as error:
        _log.warning("commitment-not-told", error=type(error).__name__)
        return False
    return "Status" in status and int(status.Status) == SUCCESS


def _report_of(transaction: Transaction, verdict: Verdict, ae_title: str) -> Dataset:
    """Event information (PS3.4 Table J.3-2)."""
    report = Dataset()
    report.TransactionUID = transaction.transaction_uid
    report.RetrieveAETitle = ae_title
    if verdict.stored:
        report.ReferencedSOPSequence = [_reference(item) for item in verdict.stored]
    if verdict.failed:
        report.FailedSOPSequence = []
        for item, reason in verdict.failed:
            failed = _reference(item)
            failed.FailureReason = reason
            report.FailedSOPSequence.append(failed)
    return report


def _reference(item: Reference) -> Dataset:
    dataset = Dataset()
    dataset.ReferencedSOPClassUID, dataset.ReferencedSOPInstanceUID = item
    return dataset
