"""A search is split into streams, each of which an index gives in order; their merged heads are the search's page.

MongoDB cannot merge the branches of an `$or` in order when one of them is a list of `_id`s, and sorts everything that
matches instead. So an `$or` never reaches it: each branch is a stream of its own. Pure.
"""

from collections.abc import Iterable, Mapping, Sequence
from heapq import merge
from typing import Any

from imaging_common.index.listing import LISTED, places_of_days

Clause = Mapping[str, Any]
MAX_STREAMS = 24
"""More branches than that are left to MongoDB, which then sorts."""
Order = Sequence[tuple[str, int]]


def conjuncts(clause: Clause) -> list[dict[str, Any]]:
    """The clause as parts that must all hold, each without `$and`."""
    parts: list[dict[str, Any]] = []
    for name, condition in clause.items():
        if name == "$and":
            parts += [inner for part in condition for inner in conjuncts(part)]
        else:
            parts.append({name: condition})
    return parts


def split(*clauses: Clause) -> list[dict[str, Any]]:
    """Clauses of which the union is what all of `clauses` together match, without `$or` where that is few."""
    parts = [part for clause in clauses for part in conjuncts(clause)]
    streams: list[list[dict[str, Any]]] = [[]]
    for part in parts:
        branches = [conjuncts(branch) for branch in part["$or"]] if "$or" in part else [[part]]
        if len(streams) * len(branches) > MAX_STREAMS:
            branches = [[part]]
        streams = [[*stream, *branch] for stream in streams for branch in branches]
    return [joined(stream) for stream in streams if not any(_is_empty(part) for part in stream)]


def joined(parts: Sequence[Clause]) -> dict[str, Any]:
    """All of the parts as one clause, flat where no field comes twice, so that equal searches have equal shapes."""
    flat: dict[str, Any] = {}
    rest: list[Clause] = []
    for part in parts:
        if part.keys() & flat.keys():
            rest.append(part)
        else:
            flat |= part
    return flat | ({"$and": rest} if rest else {})


def _is_empty(part: Clause) -> bool:
    """Whether nothing can match."""
    return any(isinstance(condition, Mapping) and condition.get("$in") == [] for condition in part.values())


def places(clause: Clause) -> dict[str, Any]:
    """The clause on `place` that follows from one on studies: listed, and between the days it names."""
    first = last = ""
    for part in conjuncts(clause):
        condition = part.get("study_date")
        if isinstance(condition, Mapping):
            first = max(first, str(condition.get("$gte", "")))
            last = min(last or "9" * 8, str(condition.get("$lte", "") or "9" * 8))
    return {"place": places_of_days(first, last)} if first or last else dict(LISTED)


def scope_of(clause: Clause) -> list[dict[str, Any]]:
    """The parts of a search that say where it looks, not for what: they hold for all holders' documents of a row."""
    return [part for part in conjuncts(clause) if part.keys() <= {"holder", "study_key"}]


def in_order(streams: Iterable[Sequence[Mapping[str, Any]]], order: Order) -> list[Mapping[str, Any]]:
    """Ordered streams as one; None comes first, as MongoDB sorts it."""
    return list(merge(*streams, key=lambda document: _key(document, order)))


def _key(document: Mapping[str, Any], order: Order) -> tuple[Any, ...]:
    """Ascending; only numbers can be descending."""
    return tuple(
        (document.get(name) is not None, -document[name] if way < 0 else document[name])
        if document.get(name) is not None
        else (False, 0)
        for name, way in order
    )
