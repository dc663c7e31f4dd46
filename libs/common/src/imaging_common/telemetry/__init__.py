"""Traces (OTLP), logs (JSON with trace ids) and metrics (Prometheus), the same in every service."""

from imaging_common.telemetry.context import attached, current_traceparent, link_to
from imaging_common.telemetry.logs import get_logger
from imaging_common.telemetry.setup import get_tracer, setup_telemetry, shutdown_telemetry

__all__ = [
    "attached",
    "current_traceparent",
    "get_logger",
    "get_tracer",
    "link_to",
    "setup_telemetry",
    "shutdown_telemetry",
]
