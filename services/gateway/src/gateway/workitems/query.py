"""Searches for work items (PS3.18 §11.9, PS3.4 CC.2.8): parameters enter, whether a work item fits leaves. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from fnmatch import fnmatchcase
from typing import Any

from gateway.dicomweb.attributes import tag_of, vr_of
from gateway.workitems.model import consult_states

DEFAULT_LIMIT, MAX_LIMIT, MAX_OFFSET, MAX_VALUE = 100, 1000, 100_000, 1024
NOT_KEYS = frozenset({"limit", "offset", "fuzzymatching", "includefield", "accept", "charset", "emptyvaluematching"})
STATE = "00741000"
LISTS = ("UI", "CS", "SH", "LO")
"""VRs of which one of several values may be asked for, with commas between (UIDs and codes)."""
_DT = r"\d{4}(?:\d{2}){0,5}(?:\.\d{1,6})?(?:[+-](?:0\d|1[0-4])[0-5]\d)?"
_RANGE = re.compile(rf"(?P<one>{_DT})|(?P<first>{_DT})?-(?P<last>{_DT})?")
_STEPS = (("days", 8), ("hours", 10), ("minutes", 12), ("seconds", 14))


class BadSearch(ValueError):
    """The search cannot be understood (400); the text says why, without the value."""


@dataclass(slots=True)
class WorkitemSearch:
    """A parsed search: keys by the path of their tags, and which page."""

    keys: list[tuple[tuple[str, ...], str]] = field(default_factory=list)
    limit: int = DEFAULT_LIMIT
    offset: int = 0

    def states(self) -> frozenset[str] | None:
        """The states of consults that have to be read for it; None: any."""
        for path, value in self.keys:
            if path == (STATE,) and "*" not in value and "?" not in value:
                found = [consult_states(one) for one in _several(value)]
                return None if None in found else frozenset().union(*(one for one in found if one is not None))
        return None

    def fits(self, item: Mapping[str, Any], zone: tzinfo) -> bool:
        """Whether a work item fits every key; times without an offset are the region's."""
        return all(any(_matches(value, found, zone) for found in _at([item], path)) for path, value in self.keys)


def parse_search(parameters: Iterable[tuple[str, str]]) -> WorkitemSearch:
    """Parse the parameters; a key is a keyword or tag, in sequences a path with points.

    Raises
    ------
    BadSearch
        An attribute is unknown, or a value is malformed.
    """
    search = WorkitemSearch()
    for name, value in parameters:
        match name.lower():
            case "limit":
                search.limit = min(_whole(value, "limit", MAX_LIMIT), MAX_LIMIT)
            case "offset":
                search.offset = _whole(value, "offset", MAX_OFFSET)
                if search.offset > MAX_OFFSET:
                    raise BadSearch(f"offset is beyond {MAX_OFFSET}: narrow the search")
            case other if other in NOT_KEYS or value in ("", "*"):
                continue
            case _:
                search.keys.append((_path(name), _checked(name, value)))
    return search


def _path(name: str) -> tuple[str, ...]:
    tags = tuple(tag_of(part) for part in name.split("."))
    known = tuple(tag for tag in tags if tag is not None)
    if len(known) != len(tags) or len(tags) > 4:
        raise BadSearch(f"{name[:64]!r} is neither a keyword nor a tag of the data dictionary")
    if vr_of(known[-1]) == "SQ":
        raise BadSearch(f"{name[:64]} is a sequence: name an attribute in it, as in {name[:64]}.CodeValue")
    return known


def _checked(name: str, value: str) -> str:
    if len(value) > MAX_VALUE:
        raise BadSearch(f"the value of {name[:64]} is too long")
    if vr_of(_path(name)[-1]) in ("DT", "DA"):
        matched = _RANGE.fullmatch(value)
        if matched is None or value == "-":
            raise BadSearch(f"{name[:64]} is not a date and time or a range of them")
    return value


def _whole(text: str, name: str, most: int) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 9:
        raise BadSearch(f"{name} is not a whole number up to {most}")
    return int(text)


def _at(items: Sequence[Mapping[str, Any]], path: Sequence[str]) -> list[tuple[str, Any]]:
    """The (VR, value) pairs at a path, in any item of its sequences."""
    head, *rest = path
    found: list[tuple[str, Any]] = []
    for item in items:
        element = item.get(head, {})
        values = element.get("Value", [])
        found += _at(values, rest) if rest else [(element["vr"], value) for value in values]
    return found


def _matches(wanted: str, found: tuple[str, Any], zone: tzinfo) -> bool:
    vr, value = found
    if vr in ("DT", "DA"):
        return _in_range(wanted, str(value), zone)
    if vr == "PN":
        return any(fnmatchcase(str(one).casefold(), _pattern(wanted.casefold())) for one in value.values())
    wishes = _several(wanted) if vr in LISTS else [wanted]
    return any(fnmatchcase(str(value), _pattern(one)) for one in wishes)


def _pattern(text: str) -> str:
    """DICOM's wild cards are `*` and `?` alone."""
    return text.replace("[", "[[]")


def _several(value: str) -> list[str]:
    return [one for one in re.split(r"[\\,]", value) if one]


def _in_range(wanted: str, value: str, zone: tzinfo) -> bool:
    """Range matching (PS3.4 C.2.2.2.5): `a-b`, `a-`, `-b`, or one value; each may be cut short."""
    matched = _RANGE.fullmatch(wanted)
    assert matched is not None
    begin, _ = _span(value, zone)
    first, last = matched["one"] or matched["first"], matched["one"] or matched["last"]
    return (not first or begin >= _span(first, zone)[0]) and (not last or begin < _span(last, zone)[1])


def _span(text: str, zone: tzinfo) -> tuple[datetime, datetime]:
    """The first moment that a DT stands for, and the first that it does not."""
    offset = re.search(r"[+-]\d{4}$", text) if len(text) > 8 else None
    digits = (text[: offset.start()] if offset else text).partition(".")[0]
    try:
        filled = datetime.strptime((digits + "0101000000"[len(digits) - 4 :]).ljust(14, "0"), "%Y%m%d%H%M%S")
        begin = filled.replace(tzinfo=datetime.strptime(offset[0], "%z").tzinfo if offset else zone)
        if len(digits) < 8:
            months = 12 if len(digits) == 4 else 1
            beyond = begin.month - 1 + months
            return begin, begin.replace(year=begin.year + beyond // 12, month=beyond % 12 + 1)
        unit = next(name for name, length in _STEPS if len(digits) <= length)
        return begin, begin + timedelta(**{unit: 1})
    except (ValueError, OverflowError) as error:
        raise BadSearch("a date and time of the search is none") from error
