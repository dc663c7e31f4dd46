"""Events in and out: CloudEvents on Kafka, retry, dead letter, commit. `Messaging` is a service's one entry."""

from imaging_common.messaging.ports import EventPublisher, FakePublisher
from imaging_common.messaging.publisher import KafkaPublisher
from imaging_common.messaging.retry import DeadLetterLimit, RetryPolicy
from imaging_common.messaging.router import EventRouter
from imaging_common.messaging.service import Messaging

__all__ = [
    "DeadLetterLimit",
    "EventPublisher",
    "EventRouter",
    "FakePublisher",
    "KafkaPublisher",
    "Messaging",
    "RetryPolicy",
]
