"""Plots as numbers for SVG: server-rendered, without a script or a style attribute."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from gateway.operations.model import BacklogSample, DayOfUse

UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
TIERS = ("archive", "staging", "cache", "spool")
GAP = timedelta(minutes=4)
"""Longer without a sample: the agent was silent, and the line breaks."""


def bytes_text(size: float) -> str:
    """Three digits and a unit: `1.58 MiB`."""
    unit = 0
    while size >= 1000 and unit < len(UNITS) - 1:
        size, unit = size / 1024, unit + 1
    if unit == 0:
        return f"{size:.0f} B"
    return f"{size:.{2 if size < 10 else 1 if size < 100 else 0}f} {UNITS[unit]}"


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis: where, and what it says."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Curve:
    """A line over time, broken where nothing was said; `lines` and `areas` are `points` of SVG."""

    width: int
    height: int
    lines: tuple[str, ...]
    areas: tuple[str, ...]
    top: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


def backlog_curve(
    samples: Sequence[BacklogSample], since: datetime, now: datetime, zone: ZoneInfo, width: int, height: int
) -> Curve | None:
    """Instances that wait, over time; None: nothing was said."""
    if not samples:
        return None
    highest = _nice(max(sample.backlog_instances for sample in samples))
    span = (now - since).total_seconds()

    def point(sample: BacklogSample) -> tuple[float, float]:
        x = (sample.at - since).total_seconds() / span * width
        return round(x, 1), round(height - sample.backlog_instances / highest * height, 1)

    runs: list[list[tuple[float, float]]] = []
    before: datetime | None = None
    for sample in samples:
        if before is None or sample.at - before > GAP:
            runs.append([])
        runs[-1].append(point(sample))
        before = sample.at
    runs = [run if len(run) > 1 else [run[0], (run[0][0] + 1, run[0][1])] for run in runs]
    hours = max(1, round(span / 3600 / 6))
    first = (since + timedelta(hours=1)).astimezone(zone).replace(minute=0, second=0, microsecond=0)
    marks = [first + timedelta(hours=n) for n in range(int(span // 3600) + 1)]
    return Curve(
        width,
        height,
        tuple(_points(run) for run in runs),
        tuple(_points([(run[0][0], height), *run, (run[-1][0], height)]) for run in runs),
        str(highest),
        tuple(
            Tick(round((mark - since).total_seconds() / span * width, 1), f"{mark:%H:%M}")
            for mark in marks
            if mark <= now and mark.hour % hours == 0
        ),
        tuple(Tick(round(height - share * height, 1), f"{highest * share:g}") for share in (0, 0.5, 1)),
    )


@dataclass(frozen=True, slots=True)
class Bar:
    """A horizontal bar: how long (of `Bars.width`), and where its bound is (None: it has none)."""

    key: str
    size: int
    length: float
    bound: float | None
    text: str
    share: int | None
    """Percent of its bound."""


@dataclass(frozen=True, slots=True)
class Bars:
    """One group of bars on one scale."""

    bars: tuple[Bar, ...]
    width: int
    total: int
    total_text: str
    bound: int | None
    bound_text: str

    @property
    def share(self) -> int | None:
        """Percent of the group's bound."""
        return _percent(self.total, self.bound)

    @property
    def whole(self) -> Bar:
        """All together, against the bound."""
        scale = max(self.total, self.bound or 0) or 1
        ends = [round(size / scale * self.width, 1) for size in (self.total, self.bound or 0)]
        return Bar("", self.total, ends[0], ends[1], self.total_text, self.share)


def bars(sizes: dict[str, int], width: int, *, bound: int | None = None, bounds: dict[str, int] | None = None) -> Bars:
    """Bytes by name, the largest first.

    Parameters
    ----------
    bound
        Of all together; the scale reaches to it only where one bar does.
    bounds
        Of each.
    """
    limits = bounds or {}
    scale = max([*sizes.values(), *limits.values()], default=0) or 1
    made = [
        Bar(
            key,
            size,
            round(max(size / scale * width, 1.5 if size else 0), 1),
            round(limits[key] / scale * width, 1) if key in limits else None,
            bytes_text(size),
            _percent(size, limits.get(key)),
        )
        for key, size in sorted(sizes.items(), key=lambda item: (-item[1], item[0]))
    ]
    total = sum(sizes.values())
    return Bars(tuple(made), width, total, bytes_text(total), bound, bytes_text(bound or 0))


@dataclass(frozen=True, slots=True)
class Growth:
    """Tiers above one another, day by day; `layers` are (tier, points of its area), the lowest first."""

    width: int
    height: int
    layers: tuple[tuple[str, str], ...]
    quota: float | None
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    grown: dict[str, str]
    """Tier → how much more (`+`) or less there is than on the first day."""
    first_day: str


def growth(days: Sequence[DayOfUse], width: int, height: int) -> Growth | None:
    """None: fewer than two days are known."""
    if len(days) < 2:
        return None
    dates = [datetime.fromisoformat(day.day) for day in days]
    span = (dates[-1] - dates[0]).days or 1
    xs = [round((date - dates[0]).days / span * width, 1) for date in dates]
    totals = [[day.total(tier) for tier in TIERS] for day in days]
    highest = max(max(map(sum, totals)), 1)
    unit, exponent = 1, 0
    while highest / unit >= 1000:
        unit, exponent = unit * 1024, exponent + 1
    top = _nice(highest / unit) * unit

    def y(size: float) -> float:
        return round(height - size / top * height, 1)

    layers = []
    for number, tier in enumerate(TIERS):
        upper = [(x, y(sum(sums[: number + 1]))) for x, sums in zip(xs, totals, strict=True)]
        lower = [(x, y(sum(sums[:number]))) for x, sums in zip(xs, totals, strict=True)]
        layers.append((tier, _points([*upper, *reversed(lower)])))
    step = max(1, len(days) // 6)
    marks = range(0, len(days), step)
    changes = {tier: totals[-1][n] - totals[0][n] for n, tier in enumerate(TIERS)}
    return Growth(
        width,
        height,
        tuple(layers),
        None,
        tuple(Tick(xs[n], f"{dates[n]:%m-%d}") for n in marks),
        tuple(Tick(y(top * share), bytes_text(top * share)) for share in (0, 0.5, 1)),
        {tier: ("−" if change < 0 else "+") + bytes_text(abs(change)) for tier, change in changes.items()},
        days[0].day,
    )


def _points(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in points)


def _percent(size: int, bound: int | None) -> int | None:
    return round(size * 100 / bound) if bound else None


def _nice(highest: float) -> int:
    """The next of 1, 2, 5 × 10ⁿ that is not below."""
    power = 1
    while True:
        for factor in (1, 2, 5):
            if highest <= factor * power:
                return factor * power
        power *= 10
