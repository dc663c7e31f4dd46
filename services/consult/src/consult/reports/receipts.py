"""What the applicant's hospital answers to a write-back: kept with the version, and told to everybody concerned."""

from consult.model import Consult
from consult.ports import Clock, Outgoing
from consult.reports.making import Making
from consult.reports.model import OutputsTask
from consult.reports.ports import LeaseLost, ReportBook
from consult.usecases.outgoing import REPORT_TOPIC, consult_event
from imaging_common.events import ReportDelivered, WriteBackDone
from imaging_common.telemetry import get_logger

_log = get_logger(__name__)


class Receipts:
    """Takes them; the same one again changes nothing."""

    def __init__(self, book: ReportBook, making: Making, clock: Clock) -> None:
        self._book = book
        self._making = making
        self._clock = clock

    async def take(self, hospital: str, event: WriteBackDone) -> None:
        """Of this hospital: what its PACS said."""
        while True:
            task = await self._book.by_write_back(event.write_back_id)
            if task is None or task.applicant_hospital != hospital:
                _log.warning("write-back-unknown", hospital=hospital, write_back_id=event.write_back_id)
                return
            if task.outputs.delivery != "requested":
                return
            try:
                await self._keep(task, event)
            except LeaseLost:
                continue
            return

    async def _keep(self, task: OutputsTask, event: WriteBackDone) -> None:
        outcome = {"": "stored", "no-pacs": "no-pacs"}.get(event.reason, "failed")
        update = {
            "delivery": outcome,
            "delivered_at": self._clock() if outcome == "stored" else None,
            "failure": event.reason if outcome == "failed" else "",
        }
        done = task.model_copy(update={"outputs": task.outputs.model_copy(update=update)})
        await self._making.keep(done, task.due_at, lambda consult: self._told(task, outcome, consult))

    def _told(self, task: OutputsTask, outcome: str, consult: Consult) -> Outgoing:
        """`ReportDelivered`, of the case as it is now; nothing for a hospital without a PACS."""
        report = task.issued.report
        if outcome == "no-pacs" or report is None:
            return ()
        event = consult_event(
            ReportDelivered, consult, self._clock(), report_id=report.id, report_version=task.version, outcome=outcome
        )
        return [(REPORT_TOPIC, event, consult.id)]
