"""Search parameters of the type date on moments (FHIR R4B §3.1.1.4.7). Pure."""

import re
from datetime import UTC, datetime, timedelta, tzinfo

from gateway.fhir.outcome import FhirError

_VALUE = re.compile(
    r"(?P<prefix>eq|ne|gt|lt|ge|le|sa|eb|ap)?"
    r"(?P<date>\d{4}(?:-\d{2}(?:-\d{2})?)?)"
    r"(?:T(?P<time>\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?)(?P<zone>Z|[+-]\d{2}:\d{2})?)?"
)


def fits_moment(text: str, moment: datetime, zone: tzinfo, now: datetime | None = None) -> bool:
    """Whether a moment fits one value of a date parameter; without an offset it is the region's time.

    Raises
    ------
    FhirError
        400 (`invalid`): the value is no date with a prefix of FHIR's.
    """
    matched = _VALUE.fullmatch(text.replace(" ", "+"))
    if matched is None:
        raise FhirError(400, "invalid", "a date of the search is none with a prefix of FHIR's")
    first, last = _span(matched, zone)
    match matched["prefix"] or "eq":
        case "ne":
            return not first <= moment < last
        case "gt" | "sa":
            return moment >= last
        case "lt" | "eb":
            return moment < first
        case "ge":
            return moment >= first
        case "le":
            return moment < last
        case "ap":
            slack = abs((now or datetime.now(UTC)) - first) / 10
            return first - slack <= moment < last + slack
        case _:
            return first <= moment < last


def _span(matched: re.Match[str], zone: tzinfo) -> tuple[datetime, datetime]:
    """The first moment that the value stands for, and the first that it does not."""
    try:
        if matched["time"]:
            offset = (matched["zone"] or "").replace("Z", "+00:00")
            begin = datetime.fromisoformat(f"{matched['date']}T{matched['time']}{offset}")
            begin = begin if begin.tzinfo else begin.replace(tzinfo=zone)
            short = matched["time"].count(":") == 1
            precise = "." in matched["time"]
            unit = timedelta(milliseconds=1) if precise else timedelta(minutes=1) if short else timedelta(seconds=1)
            return begin, begin + unit
        parts = [int(part) for part in matched["date"].split("-")]
        year, month, day = [*parts, 1, 1][:3]
        begin = datetime(year, month, day, tzinfo=zone)
        if len(parts) == 3:
            return begin, begin + timedelta(days=1)
        beyond = begin.month - 1 + (12 if len(parts) == 1 else 1)
        return begin, begin.replace(year=begin.year + beyond // 12, month=beyond % 12 + 1)
    except (ValueError, OverflowError) as error:
        raise FhirError(400, "invalid", "a date of the search is none") from error
