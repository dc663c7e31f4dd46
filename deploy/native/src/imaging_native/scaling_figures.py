"""What each copy of a service did, from its own metrics, and which partitions it was given, from Kafka."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import httpx
from confluent_kafka import KafkaException
from prometheus_client.parser import text_string_to_metric_families

from imaging_common.messaging.administration import connect

NOT_WORK = ("/health", "/metrics")
"""Routes that operators and probes ask."""
SMALLEST_SHARE = 0.1
"""Of two copies each has to do so much of the work at least."""
ANSWER_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Work:
    """Counted since the copy started, or (a difference) in one run."""

    messages: int
    """Kafka messages handled."""
    requests: int
    """HTTP requests answered, without probes."""

    def __sub__(self, before: "Work") -> "Work":
        return Work(self.messages - before.messages, self.requests - before.requests)


async def work_of(url: str) -> Work:
    """What the copy at `url` has done so far."""
    async with httpx.AsyncClient(timeout=ANSWER_SECONDS) as client:
        answer = await client.get(f"{url}/metrics")
    answer.raise_for_status()
    return counted(answer.text)


def counted(metrics: str) -> Work:
    """What a copy's metrics (Prometheus' text format) say it has done."""
    messages = sum(value for name, _, value in _samples(metrics) if name == "imaging_messages_handled_total")
    requests = sum(
        value
        for name, labels, value in _samples(metrics)
        if name == "imaging_http_seconds_count" and not labels["route"].startswith(NOT_WORK)
    )
    return Work(int(messages), int(requests))


def _samples(text: str) -> Iterator[tuple[str, Mapping[str, str], float]]:
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            yield sample.name, sample.labels, sample.value


def is_shared(parts: Sequence[int]) -> bool:
    """Whether every copy did its share."""
    return sum(parts) > 0 and min(parts) >= SMALLEST_SHARE * sum(parts)


class Groups:
    """The consumer groups of a region; an administrator's view."""

    def __init__(self, bootstrap: str, password: str) -> None:
        self._admin = connect(bootstrap, "admin", password)

    async def partitions(self, group: str) -> list[int]:
        """How many partitions each member has, most first.

        Raises
        ------
        KafkaException
            Kafka does not answer.
        """
        return await asyncio.to_thread(self._partitions, group)

    def _partitions(self, group: str) -> list[int]:
        described = self._admin.describe_consumer_groups([group], request_timeout=ANSWER_SECONDS)[group]
        members = described.result(ANSWER_SECONDS).members
        return sorted((len(member.assignment.topic_partitions) for member in members), reverse=True)

    async def are_held_by(self, wanted: Mapping[str, int]) -> bool:
        """Whether each group has so many members, and each member partitions."""
        try:
            held = {group: await self.partitions(group) for group in wanted}
        except KafkaException:
            return False
        return all(len(held[group]) == members and min(held[group]) > 0 for group, members in wanted.items())
