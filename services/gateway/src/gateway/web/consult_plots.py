"""Plots of the consults' statistics as numbers for SVG: turnaround as bars from median to p90, months as columns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WIDTH, ROW = 420, 26
LETTER = 6.5
"""So wide is a letter of the plots, on their scale."""


@dataclass(frozen=True, slots=True)
class Span:
    """One row: where the median and the p90 lie on the scale, and what they say."""

    label: str
    y: int
    median: float
    p90: float
    text: str


@dataclass(frozen=True, slots=True)
class Spans:
    """All rows on one scale of hours."""

    spans: tuple[Span, ...]
    width: int
    height: int
    ticks: tuple[tuple[float, str], ...]


def turnaround(rows: Sequence[Mapping[str, Any]], labels: Mapping[str, str]) -> Spans | None:
    """None: no case was answered yet."""
    known = [row for row in rows if row.get("median_hours") is not None]
    if not known:
        return None
    highest = _nice(max(float(row.get("p90_hours") or row["median_hours"]) for row in known))
    spans = tuple(
        Span(
            labels.get(str(row["key"]), str(row["key"])),
            number * ROW,
            round(float(row["median_hours"]) / highest * WIDTH, 1),
            round(float(row.get("p90_hours") or row["median_hours"]) / highest * WIDTH, 1),
            f"{_time(float(row['median_hours']))} / {_time(float(row.get('p90_hours') or row['median_hours']))}",
        )
        for number, row in enumerate(known)
    )
    ticks = tuple((round(WIDTH * share, 1), f"{highest * share:g}") for share in (0, 0.5, 1))
    return Spans(spans, WIDTH, len(known) * ROW, ticks)


@dataclass(frozen=True, slots=True)
class Column:
    """One column: all cases, and of them the overdue ones."""

    label: str
    x: float
    width: float
    height: float
    over: float
    count: int


@dataclass(frozen=True, slots=True)
class Columns:
    """Counts side by side."""

    columns: tuple[Column, ...]
    width: int
    height: int
    top: int


def counts(rows: Sequence[Mapping[str, Any]], labels: Mapping[str, str], height: int = 140) -> Columns | None:
    """None: there are no cases."""
    highest = max((int(row["count"]) for row in rows), default=0)
    if not highest:
        return None
    step = WIDTH / len(rows)
    width = min(step * 0.6, 48)
    columns = tuple(
        Column(
            _short(labels.get(str(row["key"]), str(row["key"])), step),
            round(number * step + (step - width) / 2, 1),
            round(width, 1),
            round(int(row["count"]) / highest * height, 1),
            round(int(row.get("overdue") or 0) / highest * height, 1),
            int(row["count"]),
        )
        for number, row in enumerate(rows)
    )
    return Columns(columns, WIDTH, height, highest)


def _time(hours: float) -> str:
    """Minutes where hours would say next to nothing."""
    return f"{hours * 60:.0f} min" if hours < 1 else f"{hours:.1f} h"


def _short(label: str, width: float) -> str:
    """As much of a name as has room under its column: a Han character is twice as wide as a letter."""
    room, shown = width / LETTER, ""
    for char in label:
        room -= 2 if ord(char) > 0x2E80 else 1
        if room < 0:
            return shown.rstrip() + "…"
        shown += char
    return shown


def _nice(highest: float) -> float:
    power = 1.0
    while True:
        for factor in (1, 2, 5):
            if highest <= factor * power:
                return factor * power
        power *= 10
