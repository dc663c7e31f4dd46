"""Hospitals and their edge agents as the operators' pages show them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from gateway.model import HospitalEntry
from gateway.operations.model import BacklogSample
from gateway.retrievals.edges import Edges, EdgeState
from gateway.web.i18n import Translator
from gateway.web.plots import Curve, backlog_curve, bytes_text

LATE_INTERVALS = 1.5
SPARK_HOURS = 6
CURVE_HOURS = 24
SPARK = (120, 22)
CURVE = (900, 160)


@dataclass(frozen=True, slots=True)
class HospitalView:
    """One hospital, and what its edge agent last said."""

    entry: HospitalEntry
    state: str
    """`online`, `late`, `offline`, or `never`."""
    heard_at: datetime | None
    version: str
    backlog: int
    backlog_bytes: str
    oldest_unsent_at: datetime | None
    spool: str
    spool_limit: str
    spool_percent: int
    lag: int | None
    pacs: str
    """`none`, `unknown`, `ok`, `away`."""
    pacs_since: datetime | None
    pacs_studies: int
    pacs_waiting: int
    backfill_done: bool
    last_sweep_at: datetime | None
    announced_at: datetime | None
    spark: Curve | None
    curve: Curve | None

    @property
    def hospital(self) -> str:
        """Its id."""
        return self.entry.hospital


def hospital_view(
    entry: HospitalEntry,
    edges: Edges,
    *,
    interval_seconds: float,
    now: datetime,
    announced_at: datetime | None,
    samples: Sequence[BacklogSample],
    zone: ZoneInfo,
) -> HospitalView:
    """What is shown of it."""
    known = edges.state(entry.hospital)
    beat = known.heartbeat if known else None
    pacs = beat.pacs if beat else None
    spark_since = now - timedelta(hours=SPARK_HOURS)
    recent = [sample for sample in samples if sample.at >= spark_since]
    limit = beat.spool_limit_bytes if beat else 0
    has_pacs = pacs is not None or entry.tier == "distributed"
    return HospitalView(
        entry=entry,
        state=_state(known, edges, entry.hospital, interval_seconds, now),
        heard_at=known.heard_at if known else None,
        version=beat.agent_version if beat else "",
        backlog=beat.backlog_instances if beat else 0,
        backlog_bytes=bytes_text(beat.backlog_bytes if beat else 0),
        oldest_unsent_at=beat.oldest_unsent_at if beat else None,
        spool=bytes_text(beat.spool_bytes if beat else 0),
        spool_limit=bytes_text(limit),
        spool_percent=min(100, round((beat.spool_bytes if beat else 0) * 100 / limit)) if limit else 0,
        lag=beat.consumer_lag if beat else None,
        pacs=("ok" if pacs.reachable else "away") if pacs else "unknown" if has_pacs else "none",
        pacs_since=pacs.since if pacs else None,
        pacs_studies=pacs.studies if pacs else 0,
        pacs_waiting=pacs.waiting if pacs else 0,
        backfill_done=pacs.backfill_done if pacs else False,
        last_sweep_at=pacs.last_sweep_at if pacs else None,
        announced_at=announced_at,
        spark=backlog_curve(recent, spark_since, now, zone, *SPARK),
        curve=backlog_curve(samples, now - timedelta(hours=CURVE_HOURS), now, zone, *CURVE),
    )


def _state(known: EdgeState | None, edges: Edges, hospital: str, interval_seconds: float, now: datetime) -> str:
    away = edges.away(hospital)
    if known is None:
        return "never"
    if away is not None and away.reason == "edge-offline":
        return "offline"
    return "late" if (now - known.heard_at).total_seconds() > interval_seconds * LATE_INTERVALS else "online"


def age_text(at: datetime | None, now: datetime, t: Translator) -> str:
    """How long ago, in the largest unit; empty: never."""
    if at is None:
        return ""
    seconds = max(0, int((now - at).total_seconds()))
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= size * (2 if unit == "days" else 1):
            return t(f"ops.ago.{unit}", n=seconds // size)
    return t("ops.ago.seconds", n=seconds)
