"""Prometheus metrics, read from the journal when asked for: the receiving processes have no door of their own."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from edge_agent.adapters.journal import Journal


class JournalMetrics(Collector):
    """Instances and bytes in the spool by state, refused instances by reason, events that cannot be published."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

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
        yield from (instances, size, refused, aside)
