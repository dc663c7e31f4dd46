"""`IndexReader` in memory, for unit tests: evaluates the part of MongoDB's query language that this project uses."""

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from imaging_common.index.read import Clause, Level, StudyIndex


class FakeIndexReader:
    """Holds documents per collection; put them in with `put`."""

    def __init__(self) -> None:
        self.collections: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)

    def put(self, collection: str, document: dict[str, Any]) -> None:
        """Insert or replace by `_id`."""
        self.collections[collection][document["_id"]] = document

    def index(self) -> StudyIndex:
        """A `StudyIndex` over these documents."""
        return StudyIndex(self)

    async def find(
        self,
        collection: str,
        where: Clause,
        *,
        order: Sequence[tuple[str, int]] = (),
        limit: int = 0,
        skip: int = 0,
        projection: Mapping[str, int] | None = None,
    ) -> list[dict[str, Any]]:
        """See `IndexReader.find`; the projection is ignored."""
        found = _ordered([d for d in self.collections[collection].values() if matches(d, where)], order)
        return found[skip : skip + limit] if limit else found[skip:]

    async def merged(
        self, level: Level, where: Clause, *, prefer: str, limit: int, offset: int
    ) -> tuple[list[list[dict[str, Any]]], int]:
        """See `IndexReader.merged`."""
        groups: dict[str, list[dict[str, Any]]] = {}
        for document in await self.find(level.collection, where, order=level.order):
            groups.setdefault(document[level.uid_field], []).append(document)
        for group in groups.values():
            group.sort(key=lambda d: (d["holder"] != prefer, -d.get("instance_count", 0), d["holder"]))
        return list(groups.values())[offset : offset + limit], len(groups)


def matches(document: Mapping[str, Any], where: Clause) -> bool:
    """Whether a document matches a filter: `$and`, `$or`, `$in`, `$gt(e)`, `$lt(e)`, `$ne`, `$regex`, equality."""
    return all(_matches_one(document, name, condition) for name, condition in where.items())


def _matches_one(document: Mapping[str, Any], name: str, condition: Any) -> bool:
    if name == "$and":
        return all(matches(document, part) for part in condition)
    if name == "$or":
        return any(matches(document, part) for part in condition)
    value: Any = document
    for step in name.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    if not isinstance(condition, Mapping):
        condition = {"$in": [condition]}
    values = value if isinstance(value, list) else [value]
    negative = "$ne" in condition
    return (all if negative else any)(_compares(item, condition) for item in values)


def _compares(value: Any, condition: Mapping[str, Any]) -> bool:
    flags = re.IGNORECASE if "i" in condition.get("$options", "") else 0
    checks: dict[str, Callable[[Any], bool]] = {
        "$in": lambda wanted: value in wanted,
        "$ne": lambda unwanted: value != unwanted,
        "$gt": lambda bound: value is not None and value > bound,
        "$gte": lambda bound: value is not None and value >= bound,
        "$lt": lambda bound: value is not None and value < bound,
        "$lte": lambda bound: value is not None and value <= bound,
        "$regex": lambda pattern: isinstance(value, str) and re.search(pattern, value, flags) is not None,
        "$options": lambda _: True,
    }
    return all(checks[operator](operand) for operator, operand in condition.items())


def _ordered(documents: list[dict[str, Any]], order: Sequence[tuple[str, int]]) -> list[dict[str, Any]]:
    def key_of(name: str) -> Callable[[dict[str, Any]], tuple[bool, Any]]:
        return lambda document: _sortable(document.get(name))

    for name, way in reversed(order):
        documents = sorted(documents, key=key_of(name), reverse=way < 0)
    return documents


def _sortable(value: Any) -> tuple[bool, Any]:
    """None comes first, as MongoDB sorts it."""
    return (value is not None, 0 if value is None else value)
