"""What a copy did, read from its metrics; and when two copies have shared."""

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from imaging_native.scaling_figures import Work, counted, is_shared


def test_work_is_messages_handled_and_requests_that_are_no_probe() -> None:
    registry = CollectorRegistry()
    handled = Counter("imaging_messages_handled_total", "x", ["topic", "type"], registry=registry)
    seconds = Histogram("imaging_http_seconds", "x", ["method", "route", "status"], registry=registry)
    handled.labels("study-changed", "StudyChanged").inc(3)
    handled.labels("consult-changed", "ConsultSubmitted").inc(2)
    for route in ("/studies/{study}", "/studies/{study}", "/health/ready", "/metrics"):
        seconds.labels("GET", route, "200").observe(0.1)
    assert counted(generate_latest(registry).decode()) == Work(messages=5, requests=2)
    assert Work(5, 2) - Work(1, 2) == Work(4, 0)


@pytest.mark.parametrize(
    ("parts", "shared"), [([5, 5], True), ([90, 10], True), ([95, 5], False), ([10, 0], False), ([0, 0], False)]
)
def test_work_is_shared_when_each_copy_did_a_tenth(parts: list[int], *, shared: bool) -> None:
    assert is_shared(parts) is shared
