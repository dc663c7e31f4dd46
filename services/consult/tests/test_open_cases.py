"""Open and late cases are gauges; a state that nobody is in any more shows nothing."""

from consult.statistics.open_cases import OpenCases
from imaging_common.testing.metrics import gauge


class NoDatabase:
    def __getitem__(self, name: str) -> None:
        return None


def test_counts_are_shown_per_hospital_and_go_to_nothing_with_the_cases() -> None:
    cases = OpenCases(NoDatabase())  # type: ignore[arg-type]
    cases.set({("tcm", "reading"): (3, 1), ("tcm", "submitted"): (2, 2)})
    assert gauge("imaging_consult_open_cases", hospital="tcm", state="reading") == 3
    assert gauge("imaging_consult_overdue_cases", hospital="tcm") == 3
    cases.set({("tcm", "reading"): (1, 0)})
    assert gauge("imaging_consult_open_cases", hospital="tcm", state="submitted") == 0
    assert gauge("imaging_consult_overdue_cases", hospital="tcm") == 0
