"""`ReportStatements` in memory."""

from imaging_common.events import ReportMatched


class FakeStatements:
    """Keeps the events that would go out."""

    def __init__(self) -> None:
        self.sent: list[ReportMatched] = []

    async def state(self, hospital: str, report_key: str, study_uid: str | None, user: str, after: int) -> bool:
        """See `ReportStatements.state`."""
        known = max((e.revision for e in self.sent if (e.hospital, e.report_key) == (hospital, report_key)), default=0)
        if known > after:
            return False
        self.sent.append(
            ReportMatched(hospital=hospital, report_key=report_key, study_uid=study_uid, revision=after + 1, user=user)
        )
        return True
