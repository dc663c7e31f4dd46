"""Prometheus metrics, read from the journal when asked for: the receiving processes have no door of their own."""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from edge_agent.adapters.journal import Journal
from imaging_common.events import PacsState


class JournalMetrics(Collector):
    """The spool by state, what was refused and why, what waits and for how long, the disk, the PACS."""

    def __init__(self, journal: Journal, spool: Path, pacs: Callable[[], PacsState | None] = lambda: None) -> None:
        self._journal = journal
        self._spool = spool
        self._pacs = pacs

    def collect(self) -> Iterator[Metric]:
        """See `Collector`."""
        usage = self._journal.usage()
        instances = GaugeMetricFamily("imaging_edge_spool_instances", "Instances in the spool.", labels=["state"])
        size = GaugeMetricFamily("imaging_edge_spool_bytes", "Bytes in the spool.", labels=["state"])
        for state in usage.instances:
            instances.add_metric([state], usage.instances[state])
            size.add_metric([state], usage.bytes[state])
        refused = CounterMetricFamily(
            "imaging_edge_refused", "Instances refused before they were acknowledged.", labels=["reason"]
        )
        for reason, count in self._journal.refusals().items():
            refused.add_metric([reason], count)
        aside = GaugeMetricFamily("imaging_edge_events_set_aside", "Events that can never be published.")
        aside.add_metric([], self._journal.events_set_aside())
        oldest = self._journal.oldest_unsent_at()
        unsent = GaugeMetricFamily("imaging_edge_oldest_unsent_seconds", "Age of the oldest instance not sent yet.")
        unsent.add_metric([], 0.0 if oldest is None else max(0.0, time.time() - oldest))
        free = GaugeMetricFamily("imaging_edge_disk_free_bytes", "Free bytes where the spool lies.")
        free.add_metric([], shutil.disk_usage(self._spool).free)
        reachable = GaugeMetricFamily("imaging_edge_pacs_reachable", "Whether the PACS answered the last call.")
        if (pacs := self._pacs()) is not None:
            reachable.add_metric([], float(pacs.reachable))
        yield from (instances, size, refused, aside, unsent, free, reachable)
