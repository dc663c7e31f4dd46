"""The Prometheus metrics that every service has. Labels are topics, types and routes: never ids or names of people."""

from prometheus_client import Counter, Gauge, Histogram

EVENTS_PUBLISHED = Counter("imaging_events_published_total", "Events that Kafka acknowledged.", ["topic", "type"])
MESSAGES_HANDLED = Counter("imaging_messages_handled_total", "Messages handled and committed.", ["topic", "type"])
MESSAGES_FAILED = Counter(
    "imaging_messages_failed_total", "Failed attempts at a message, each try counted.", ["topic", "type", "error"]
)
MESSAGES_DEAD_LETTERED = Counter(
    "imaging_messages_dead_lettered_total", "Messages sent to a dead letter topic.", ["topic", "type", "reason"]
)
HANDLER_SECONDS = Histogram("imaging_handler_seconds", "Seconds in a handler, retries included.", ["topic", "type"])
OUTBOX_PENDING = Gauge("imaging_outbox_pending", "Events written but not yet relayed.", ["collection"])
HTTP_SECONDS = Histogram("imaging_http_seconds", "Seconds until an answer's headers.", ["method", "route", "status"])

DELAY_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0)
"""Seconds, for what takes from a moment to hours."""
MESSAGE_AGE_SECONDS = Histogram(
    "imaging_message_age_seconds",
    "Seconds from a message's writing to its topic until it is handled.",
    ["topic", "type"],
    buckets=DELAY_BUCKETS,
)
CONSUMER_LAG = Gauge(
    "imaging_consumer_lag_messages",
    "Messages of a partition that its reader has not read yet.",
    ["group", "topic", "partition"],
)
CONSUMER_STANDSTILL = Gauge(
    "imaging_consumer_standstill_seconds",
    "Seconds for which a partition with messages waiting has not moved on.",
    ["group", "topic", "partition"],
)
