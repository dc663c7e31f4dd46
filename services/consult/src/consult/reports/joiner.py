"""With the transition that issues a report: its verification code, the task of its outputs, its critical value."""

from datetime import datetime, timedelta

from consult.model import Action, Consult, Critical, Report
from consult.reports.identity import task_id
from consult.reports.model import OutputsTask
from consult.reports.ports import ReportBook
from consult.reports.verification import new_code
from consult.usecases.joining import Joined
from imaging_common.auth import Claims

LISTENING_TIME = timedelta(seconds=1)
"""Until the gateway has heard that the report was issued, and shows this service the case's studies."""


class OutputsJoiner:
    """A `Joiner`: what has to be made of a version is written in its own transaction, or the version is not issued."""

    def __init__(self, book: ReportBook) -> None:
        self._book = book

    async def join(
        self, before: Consult | None, changed: Consult, action: Action, claims: Claims, now: datetime
    ) -> Joined:
        """See `Joiner.join`."""
        if action is not Action.ISSUE or changed.report is None:
            return Joined(changed)
        report = changed.report.model_copy(update={"verification_code": new_code()})
        issued = changed.model_copy(update={"report": report, "critical": critical_of(changed.critical, report, now)})
        task = OutputsTask(
            id=task_id(issued.id, report.version),
            consult_id=issued.id,
            version=report.version,
            verification_code=report.verification_code,
            applicant_hospital=issued.applicant_hospital,
            issued=issued,
            created_at=now,
            due_at=now + LISTENING_TIME,
        )
        return Joined(issued, writes=[self._book.adding(task)])


def critical_of(before: Critical | None, report: Report, now: datetime) -> Critical | None:
    """The critical value's chain after this version.

    One that somebody confirmed stays on the record, and is not asked again while its words stay the same; one that
    nobody had confirmed ends when the new version has it no more.
    """
    if not report.critical:
        return before if before is not None and before.acknowledged_at is not None else None
    if before is not None and before.acknowledged_at is not None and before.text == report.critical_text:
        return before
    return Critical(text=report.critical_text, report_version=report.version, raised_at=now)
