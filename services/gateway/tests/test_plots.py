"""Plots are numbers: silence breaks a line, a bar is as long as its bytes, units keep three digits."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from gateway.operations.model import BacklogSample, DayOfUse
from gateway.web.plots import backlog_curve, bars, bytes_text, growth

NOW = datetime(2026, 11, 24, 8, 30, tzinfo=UTC)
ZONE = ZoneInfo("Asia/Shanghai")


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (1578000, "1.50 MiB"), (1023, "1.00 KiB"), (5 << 40, "5.00 TiB")]
)
def test_bytes_keep_three_digits(size: int, text: str) -> None:
    assert bytes_text(size) == text


def test_line_breaks_where_the_agent_was_silent() -> None:
    minutes = [60, 59, 58, 20, 19]
    samples = [BacklogSample(NOW - timedelta(minutes=m), 10 + m, 0, 0) for m in minutes]
    curve = backlog_curve(samples, NOW - timedelta(hours=1), NOW, ZONE, 600, 100)
    assert curve is not None
    assert [len(line.split()) for line in curve.lines] == [3, 2]
    assert curve.lines[0].startswith("0,30 ")
    assert curve.top == "100"
    assert [tick.text for tick in curve.x_ticks] == ["16:00"]
    assert backlog_curve([], NOW - timedelta(hours=1), NOW, ZONE, 600, 100) is None


def test_bars_share_a_scale_and_show_their_bound() -> None:
    group = bars({"a": 50, "b": 100, "c": 0}, 200, bounds={"a": 200})
    assert [(bar.key, bar.length, bar.bound, bar.share) for bar in group.bars] == [
        ("b", 100.0, None, None),
        ("a", 50.0, 200.0, 25),
        ("c", 0, None, None),
    ]
    whole = bars({"a": 50}, 200, bound=100).whole
    assert (whole.length, whole.bound, whole.share) == (100.0, 200.0, 50)
    assert bars({}, 200).bars == ()


def test_growth_needs_two_days_and_says_how_much() -> None:
    days = [DayOfUse("2026-11-01", {"archive": {"a": 1 << 30}}), DayOfUse("2026-11-03", {"archive": {"a": 3 << 29}})]
    assert growth(days[:1], 100, 100) is None
    plot = growth(days, 100, 100)
    assert plot is not None
    assert (plot.grown["archive"], plot.grown["cache"], plot.first_day) == ("+512 MiB", "+0 B", "2026-11-01")
    assert plot.layers[0][1].startswith("0,")
