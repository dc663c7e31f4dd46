"""Search parameters (FHIR R4B §3.1.1): pairs of names and values enter, what is wanted leaves. Pure."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, tzinfo
from typing import Any

from gateway.fhir.names import RESIDENT_SYSTEM
from gateway.fhir.outcome import FhirError
from imaging_common.index.read import MAX_OFFSET

DEFAULT_COUNT = 20
MAX_COUNT = 100
MAX_VALUES = 50
PATIENT_NAMES = frozenset(
    f"{name}{way}" for name in ("patient", "subject") for way in ("", ".identifier", ":identifier", ":Patient")
)
RESULT_NAMES = frozenset({"_count", "_sort", "_offset", "_include", "_format", "_total", "_pretty"})
_PREFIXED = re.compile(r"(eq|ne|gt|lt|ge|le|sa|eb|ap)?(\d{4}(?:-\d{2}(?:-\d{2}(?:T.+)?)?)?)")


@dataclass(frozen=True, slots=True)
class Token:
    """`[system|]code`; `system` is None where the search names none."""

    system: str | None
    code: str

    @classmethod
    def read(cls, text: str) -> "Token":
        """From one value."""
        system, bar, code = text.partition("|")
        return cls(system, code) if bar else cls(None, text)


@dataclass(slots=True)
class Search:
    """A parsed search: the values of each parameter (inner lists are `or`), and which page is wanted."""

    values: dict[str, list[list[str]]] = field(default_factory=dict)
    patients: list[tuple[str, str]] = field(default_factory=list)
    """(`identifier` or `reference`, value)."""
    count: int = DEFAULT_COUNT
    offset: int = 0
    sort: str = ""
    include: frozenset[str] = frozenset()
    used: list[tuple[str, str]] = field(default_factory=list)
    """What was understood, for the self link; the patient is left out."""

    def tokens(self, name: str) -> list[list[Token]]:
        """The values of a token parameter."""
        return [[Token.read(text) for text in alternatives] for alternatives in self.values.get(name, [])]

    def one(self, name: str) -> str:
        """The single value of a parameter; empty without one."""
        given = self.values.get(name, [])
        if len(given) > 1 or (given and len(given[0]) != 1):
            raise FhirError(400, "invalid", f"{name} is wanted once")
        return given[0][0] if given else ""


def read_search(
    pairs: Iterable[tuple[str, str]], known: Sequence[str], *, sorts: Sequence[str] = (), strict: bool = False
) -> Search:
    """Parse a search; names that are not `known` are left out of it, and of the self link.

    Raises
    ------
    FhirError
        400 (`invalid`): a value is malformed; `not-supported`: an unknown name with `strict`.
    """
    search = Search()
    for name, value in pairs:
        if value == "":
            continue
        if name in PATIENT_NAMES and "patient" in known:
            kind = "reference" if name in ("patient", "subject", "patient:Patient", "subject:Patient") else "identifier"
            search.patients.append((kind, value))
        elif name in known:
            alternatives = value.split(",")
            if len(alternatives) > MAX_VALUES:
                raise FhirError(400, "too-costly", f"{name} names more than {MAX_VALUES} values")
            search.values.setdefault(name, []).append(alternatives)
            search.used.append((name, value))
        elif name in RESULT_NAMES:
            _result(search, name, value, sorts)
        elif strict:
            raise FhirError(400, "not-supported", "the search has a parameter that is not supported here")
    return search


def _result(search: Search, name: str, value: str, sorts: Sequence[str]) -> None:
    match name:
        case "_count":
            search.count = min(_whole(value, name), MAX_COUNT)
        case "_offset":
            search.offset = _whole(value, name)
            if search.offset > MAX_OFFSET:
                raise FhirError(400, "too-costly", f"_offset is beyond {MAX_OFFSET}: narrow the search")
        case "_sort":
            if value not in sorts:
                raise FhirError(400, "not-supported", "_sort names what this search cannot be sorted by")
            search.sort = value
            search.used.append((name, value))
        case "_include":
            search.include |= {value}
            search.used.append((name, value))


def _whole(text: str, name: str) -> int:
    if not text.isdecimal() or len(text) > 9:
        raise FhirError(400, "invalid", f"{name} is not a whole number")
    return int(text)


def resident_named(token: Token) -> str:
    """The resident's id of a token that names one; empty: it is of another system."""
    return token.code if token.system in (None, RESIDENT_SYSTEM) else ""


def date_clause(text: str, zone: tzinfo, today: date) -> dict[str, Any]:
    """The index clause on a study's date for one value of `started` (FHIR R4B §3.1.1.4.7): days in the region's zone.

    A time of day is compared by its day alone with `eq`, `ne` and `ap`, else to the second.
    """
    matched = _PREFIXED.fullmatch(text)
    if matched is None:
        raise FhirError(400, "invalid", "started is no date with a prefix of FHIR's")
    prefix = matched[1] or "eq"
    first, last, time = _range(matched[2], zone)
    if not 1000 <= first.year <= 9000:
        raise FhirError(400, "invalid", "started is no date that a study can have")
    dated = {"$ne": ""}
    if prefix == "ap":
        slack = max(abs(today - first) // 10, timedelta(days=1))
        first, last, prefix = first - slack, last + slack, "eq"
    if time and prefix not in ("eq", "ne"):
        way = {"gt": "$gt", "sa": "$gt", "ge": "$gte", "lt": "$lt", "eb": "$lt", "le": "$lte"}[prefix]
        beyond = {"$gt": _da(first)} if way.startswith("$g") else {"$lt": _da(first)}
        return {"$or": [{"study_date": {**dated, **beyond}}, {"study_date": _da(first), "study_time": {way: time}}]}
    day = timedelta(days=1)
    match prefix:
        case "eq":
            return {"study_date": {**dated, "$gte": _da(first), "$lte": _da(last)}}
        case "ne":
            outside = [{"study_date": {**dated, "$lte": _da(first - day)}}, {"study_date": {"$gte": _da(last + day)}}]
            return {"$or": outside}
        case "gt" | "sa":
            return {"study_date": {**dated, "$gte": _da(last + day)}}
        case "lt" | "eb":
            return {"study_date": {**dated, "$lte": _da(first - day)}}
        case "ge":
            return {"study_date": {**dated, "$gte": _da(first)}}
    return {"study_date": {**dated, "$lte": _da(last)}}


def _range(text: str, zone: tzinfo) -> tuple[date, date, str]:
    """The first and last day of a date of whatever precision, and the time as TM where it has one."""
    try:
        if "T" in text:
            moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
            local = moment.astimezone(zone) if moment.tzinfo else moment
            return local.date(), local.date(), f"{local:%H%M%S}"
        parts = [int(part) for part in text.split("-")]
        first = date(*[*parts, 1, 1][:3])
        last = first if len(parts) == 3 else _end(first, months=12 if len(parts) == 1 else 1)
    except (ValueError, OverflowError) as error:
        raise FhirError(400, "invalid", "started is no date") from error
    return first, last, ""


def _end(first: date, months: int) -> date:
    beyond = first.month - 1 + months
    return date(first.year + beyond // 12, beyond % 12 + 1, 1) - timedelta(days=1)


def _da(day: date) -> str:
    return day.isoformat().replace("-", "")
