"""How much a counter or a histogram's count grew during a test: other tests of the process count, too."""

from prometheus_client import REGISTRY


class Counted:
    """From its making on.

    Parameters
    ----------
    sample
        The name under which it is scraped, e.g. `imaging_deliveries_total`.
    """

    def __init__(self, sample: str, **labels: str) -> None:
        self._sample, self._labels = sample, labels
        self._before = self._now()

    @property
    def grown(self) -> float:
        """By how much."""
        return self._now() - self._before

    def _now(self) -> float:
        return REGISTRY.get_sample_value(self._sample, self._labels) or 0.0


def gauge(sample: str, **labels: str) -> float | None:
    """What a gauge shows now; None: nothing."""
    return REGISTRY.get_sample_value(sample, labels)
