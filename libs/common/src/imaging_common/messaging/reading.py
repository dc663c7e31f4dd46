"""A Kafka consumer that a record cannot stop.

A header whose *name* is not UTF-8 makes aiokafka's decoder raise inside `getone`, before any middleware, again and
again: one hospital's credentials could stop a service for all. Here such a record comes out as an `UnreadableRecord`,
which is dead-lettered like any other (without its content, which stays where it is in the source topic).
"""

from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import ConsumerStoppedError, KafkaError

_log = structlog.get_logger(__name__)


class UnreadableRecord(ConsumerRecord[Any, Any]):  # type: ignore[misc]
    """Stands for a record of which only the place is known."""

    @classmethod
    def at(cls, partition: TopicPartition, offset: int) -> "UnreadableRecord":
        """The record at this place."""
        return cls(
            topic=partition.topic,
            partition=partition.partition,
            offset=offset,
            timestamp=0,
            timestamp_type=0,
            key=None,
            value=None,
            checksum=None,
            serialized_key_size=0,
            serialized_value_size=0,
            headers=(),
        )


class SteadyConsumer(AIOKafkaConsumer):  # type: ignore[misc]
    """`getone` returns every record, readable or not."""

    async def getone(self, *partitions: TopicPartition) -> Any:
        """See `AIOKafkaConsumer.getone`."""
        try:
            return await super().getone(*partitions)
        except (KafkaError, ConsumerStoppedError):
            raise
        except Exception as error:
            found = self._broken_off()
            if found is None:
                raise
            partition, offset = found
            _log.error(
                "record-unreadable",
                topic=partition.topic,
                partition=partition.partition,
                offset=offset,
                error=type(error).__name__,
            )
            self.seek(partition, offset + 1)
            return UnreadableRecord.at(partition, offset)

    def _broken_off(self) -> tuple[TopicPartition, int] | None:
        """Where the decoder has just raised: a generator that raised has no frame any more."""
        for partition, fetched in self._fetcher._records.items():
            records = getattr(fetched, "_partition_records", None)
            iterator = getattr(records, "_records_iterator", None)
            if records is not None and iterator is not None and iterator.gi_frame is None:
                return partition, records.next_fetch_offset
        return None
