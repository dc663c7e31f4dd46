"""The levels of the information model in the index, and what a search finds: pages of rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from imaging_common.index.streams import Clause

STUDY_ORDER = (("place", -1),)
SERIES_ORDER = (("study_uid", 1), ("series_number", 1), ("series_uid", 1))
INSTANCE_ORDER = (("series_key", 1), ("instance_number", 1), ("sop_instance_uid", 1))


@dataclass(frozen=True, slots=True)
class Level:
    """A level of the information model: its collection, the field that identifies across holders, and the order."""

    collection: str
    uid_field: str
    order: tuple[tuple[str, int], ...]


STUDIES = Level("studies", "study_uid", STUDY_ORDER)
SERIES = Level("series", "series_uid", SERIES_ORDER)
INSTANCES = Level("instances", "sop_instance_uid", INSTANCE_ORDER)


@dataclass(frozen=True, slots=True)
class Row:
    """One thing found: its documents, one per holder, the one to show first."""

    documents: tuple[dict[str, Any], ...]

    @property
    def first(self) -> dict[str, Any]:
        """The document to show."""
        return self.documents[0]


@dataclass(frozen=True, slots=True)
class Page:
    """Part of what a search found."""

    rows: list[Row] = field(default_factory=list)
    remaining: int = 0
    """How many more there are behind this page, counted up to a bound."""
    more: bool = False
    """Whether there are even more than `remaining`."""


def at_level(clause: Clause, level: Level) -> dict[str, Any]:
    """The access clause, written for studies, for the documents of a level."""
    if level is STUDIES:
        return dict(clause)

    def rewrite(part: Any) -> Any:
        if isinstance(part, Mapping):
            if level is INSTANCES and isinstance(part.get("holder"), str):
                return {"series_key": {"$gte": f"{part['holder']}/", "$lt": f"{part['holder']}0"}}  # "0" follows "/"
            return {("study_key" if name == "_id" else name): rewrite(value) for name, value in part.items()}
        return [rewrite(item) for item in part] if isinstance(part, list) else part

    return dict(rewrite(clause))
