"""`IndexReader` in memory, for unit tests: evaluates the part of MongoDB's query language that this project uses."""

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from imaging_common.index.listing import listing_of
from imaging_common.index.read import StudyIndex
from imaging_common.index.streams import Clause


class FakeIndexReader:
    """Holds documents per collection; put them in with `put`."""

    def __init__(self) -> None:
        self.collections: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)

    def put(self, collection: str, document: dict[str, Any]) -> None:
        """Insert or replace by `_id`; a study gets what the indexer derives."""
        if collection == "studies":
            number = document.get("patient", {}).get("id", "")
            key = f"{document['holder']}^{number}" if number else ""
            document |= {"patient_key": document.get("patient_key", key), **listing_of(document)}
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

    async def count(self, collection: str, where: Clause, *, skip: int, limit: int) -> int:
        """See `IndexReader.count`."""
        return len(await self.find(collection, where, skip=skip, limit=limit))


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
    negative = "$ne" in condition or "$nin" in condition
    return (all if negative else any)(_compares(item, condition) for item in values)


def _compares(value: Any, condition: Mapping[str, Any]) -> bool:
    flags = re.IGNORECASE if "i" in condition.get("$options", "") else 0
    checks: dict[str, Callable[[Any], bool]] = {
        "$in": lambda wanted: value in wanted,
        "$nin": lambda unwanted: value not in unwanted,
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
