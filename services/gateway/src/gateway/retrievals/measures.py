"""Metrics of what lies at hospitals: their edge agents as last heard, and how long people wait for their images.

Edge agents sit behind their hospital's firewall; their figures reach the centre in heartbeats only. Every copy of the
gateway hears all of them, so the copies show the same and a query takes the maximum.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from prometheus_client import Counter, Gauge, Histogram

from gateway.errors import HolderAway
from imaging_common.events import EdgeHeartbeat

UP = Gauge("imaging_heartbeat_up", "Whether the edge agent was heard lately.", ["hospital"])
AGE = Gauge("imaging_heartbeat_age_seconds", "Seconds since the edge agent was last heard.", ["hospital"])
PACS_REACHABLE = Gauge("imaging_heartbeat_pacs_reachable", "Whether the PACS answers its agent.", ["hospital"])
BACKLOG_INSTANCES = Gauge(
    "imaging_heartbeat_backlog_instances", "Instances acknowledged but without the archive's receipt.", ["hospital"]
)
BACKLOG_BYTES = Gauge("imaging_heartbeat_backlog_bytes", "Bytes of those instances.", ["hospital"])
OLDEST_UNSENT = Gauge(
    "imaging_heartbeat_oldest_unsent_seconds", "Age of the oldest instance the centre has not taken.", ["hospital"]
)
SPOOL_BYTES = Gauge("imaging_heartbeat_spool_bytes", "Bytes in the agent's spool.", ["hospital"])
SPOOL_LIMIT = Gauge("imaging_heartbeat_spool_limit_bytes", "The spool's bound.", ["hospital"])
COMMAND_LAG = Gauge("imaging_heartbeat_command_lag_messages", "Commands the agent has not read yet.", ["hospital"])
WAITING_STUDIES = Gauge(
    "imaging_heartbeat_waiting_studies", "Studies known in the PACS but not announced yet.", ["hospital"]
)
WAIT_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 40.0, 90.0)
WAIT_SECONDS = Histogram(
    "imaging_retrieve_wait_seconds",
    "Seconds that somebody waited for an image that lay at its hospital only.",
    ["hospital", "outcome"],
    buckets=WAIT_BUCKETS,
)
WHOLE_SECONDS = Histogram(
    "imaging_retrieve_whole_seconds",
    "Seconds from the request for a study until the hospital had sent all that was wanted.",
    ["hospital"],
    buckets=(0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 60.0, 120.0, 300.0, 900.0),
)
RETRIEVALS = Counter(
    "imaging_retrievals", "Retrievals that ended, by each copy of the gateway that had asked.", ["hospital", "outcome"]
)
RETRIEVED_BYTES = Counter("imaging_retrieve_bytes", "Bytes that retrievals brought.", ["hospital"])
SERVED = Counter(
    "imaging_instances_served",
    "Instances opened for somebody, by where they lay: archive, staging, cache (a hit), pacs (a miss).",
    ["hospital", "source"],
)


def show_heartbeat(hospital: str, heartbeat: EdgeHeartbeat) -> None:
    """What an agent says of itself."""
    BACKLOG_INSTANCES.labels(hospital).set(heartbeat.backlog_instances)
    BACKLOG_BYTES.labels(hospital).set(heartbeat.backlog_bytes)
    SPOOL_BYTES.labels(hospital).set(heartbeat.spool_bytes)
    SPOOL_LIMIT.labels(hospital).set(heartbeat.spool_limit_bytes)
    if heartbeat.consumer_lag is not None:
        COMMAND_LAG.labels(hospital).set(heartbeat.consumer_lag)
    if heartbeat.pacs is not None:
        PACS_REACHABLE.labels(hospital).set(heartbeat.pacs.reachable)
        WAITING_STUDIES.labels(hospital).set(heartbeat.pacs.waiting)


def show_age(hospital: str, heartbeat: EdgeHeartbeat, heard_at: datetime, now: datetime, *, up: bool) -> None:
    """What becomes older with nothing being said."""
    UP.labels(hospital).set(up)
    AGE.labels(hospital).set(max(0.0, (now - heard_at).total_seconds()))
    oldest = heartbeat.oldest_unsent_at
    OLDEST_UNSENT.labels(hospital).set(0.0 if oldest is None else max(0.0, (now - oldest).total_seconds()))


@contextmanager
def measured_wait(hospital: str) -> Iterator[None]:
    """Somebody waits for an image of this hospital: it comes, it is clear that it does not, or they leave."""
    begun, outcome = time.monotonic(), "left"
    try:
        yield
        outcome = "brought"
    except HolderAway as error:
        outcome = error.away.reason
        raise
    finally:
        WAIT_SECONDS.labels(hospital, outcome).observe(time.monotonic() - begun)
