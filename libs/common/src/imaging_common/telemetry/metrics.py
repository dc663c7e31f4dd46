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
