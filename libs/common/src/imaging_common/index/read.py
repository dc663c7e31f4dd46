"""Questions to the region's index, read only: what the gateway's search, viewer and portal pages ask.

A study without instances (announced, or claimed, but nothing arrived) is never an answer: it must neither be listed
nor open access to anything.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from pymongo import ReadPreference
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError

from imaging_common.access import Subject, visible_studies
from imaging_common.errors import RetryableError
from imaging_common.index.model import InstanceDocument, SeriesDocument, StudyDocument

Clause = Mapping[str, Any]
"""A filter in MongoDB's query language over the fields of `imaging_common.index.model`."""
HAS_INSTANCES: Clause = {"instance_count": {"$gt": 0}}
WITHOUT_HEADER: Mapping[str, int] = {"header": 0}
FIND_DEADLINE_MS = 5_000
MAX_KEYS = 10_000
"""Upper levels that a search at a lower level looks into."""

STUDY_ORDER = (("study_date", -1), ("study_time", -1), ("study_uid", 1))
SERIES_ORDER = (("study_uid", 1), ("series_number", 1), ("series_uid", 1))
INSTANCE_ORDER = (("series_key", 1), ("instance_number", 1), ("sop_instance_uid", 1))


class IndexUnavailable(RetryableError):
    """MongoDB did not answer in time."""


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
    """How many more there are behind this page."""


@dataclass(frozen=True, slots=True)
class Level:
    """A level of the information model: its collection, the field that identifies across holders, and the order."""

    collection: str
    uid_field: str
    order: tuple[tuple[str, int], ...]


STUDIES = Level("studies", "study_uid", STUDY_ORDER)
SERIES = Level("series", "series_uid", SERIES_ORDER)
INSTANCES = Level("instances", "sop_instance_uid", INSTANCE_ORDER)


class IndexReader(Protocol):
    """The few kinds of reads that `StudyIndex` is made of; MongoDB and the fake implement them."""

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
        """Documents in order; limit 0 means no limit."""
        ...

    async def merged(
        self, level: Level, where: Clause, *, prefer: str, limit: int, offset: int
    ) -> tuple[list[list[dict[str, Any]]], int]:
        """Documents grouped by the level's UID, `prefer`'s first in each group; and how many groups there are."""
        ...


class StudyIndex:
    """The region's index as its readers see it."""

    def __init__(self, reader: IndexReader) -> None:
        self._reader = reader

    @classmethod
    def on(cls, database: AsyncDatabase[dict[str, Any]]) -> "StudyIndex":
        """The index in MongoDB database `index`."""
        return cls(MongoIndexReader(database))

    async def holders_of(self, study_uid: str) -> list[StudyDocument]:
        """The study at every holder that has instances of it; who may see which is for the caller to decide."""
        found = await self._reader.find("studies", {"study_uid": study_uid, **HAS_INSTANCES}, order=(("holder", 1),))
        return [StudyDocument.model_validate(document) for document in found]

    async def search_studies(
        self, subject: Subject, where: Clause | None = None, *, limit: int = 100, offset: int = 0
    ) -> Page:
        """Studies the subject may see, newest first, one row per Study Instance UID."""
        return await self.search(STUDIES, subject, where or {}, limit=limit, offset=offset)

    async def search(self, level: Level, subject: Subject, where: Clause, *, limit: int, offset: int) -> Page:
        """One page of a level, merged over the holders the subject may see; headers are left out."""
        clauses = [dict(where), _at_level(visible_studies(subject), level)]
        if level is STUDIES:
            clauses.append(dict(HAS_INSTANCES))
        groups, total = await self._reader.merged(
            level, {"$and": clauses}, prefer=subject.hospital, limit=limit, offset=offset
        )
        return Page([Row(tuple(group)) for group in groups], max(0, total - offset - len(groups)))

    async def keys(self, level: Level, subject: Subject, where: Clause) -> list[str]:
        """The `_id`s of studies or series that match, to search below them."""
        clauses = [dict(where), _at_level(visible_studies(subject), level)]
        found = await self._reader.find(level.collection, {"$and": clauses}, limit=MAX_KEYS, projection={"_id": 1})
        return [document["_id"] for document in found]

    async def study_keys(self, level: Level, subject: Subject, where: Clause) -> list[str]:
        """The `_id`s of the studies that have something matching at a lower level."""
        clauses = [dict(where), _at_level(visible_studies(subject), level)]
        found = await self._reader.find(
            level.collection, {"$and": clauses}, limit=MAX_KEYS, projection={"study_key": 1}
        )
        return sorted({document["study_key"] for document in found})

    async def documents(self, level: Level, keys: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Studies or series by their `_id`s."""
        found = await self._reader.find(level.collection, {"_id": {"$in": sorted(keys)}})
        return {document["_id"]: document for document in found}

    async def series_of(self, study_keys: Sequence[str]) -> list[SeriesDocument]:
        """The series of studies, named by their keys `<holder>/<study>`, in display order."""
        found = await self._reader.find("series", {"study_key": {"$in": list(study_keys)}}, order=SERIES_ORDER)
        return [SeriesDocument.model_validate(document) for document in found]

    async def instance(self, study_key: str, sop_instance_uid: str) -> InstanceDocument | None:
        """One instance without its header."""
        where = {"_id": f"{study_key}/{sop_instance_uid}"}
        found = await self._reader.find("instances", where, limit=1, projection=WITHOUT_HEADER)
        return InstanceDocument.from_mongo(found[0]) if found else None

    async def instances_of(self, series_key: str) -> list[InstanceDocument]:
        """The instances of a series in display order, without headers."""
        found = await self._reader.find(
            "instances", {"series_key": series_key}, order=INSTANCE_ORDER, projection=WITHOUT_HEADER
        )
        return [InstanceDocument.from_mongo(document) for document in found]

    async def headers_of(self, series_key: str, *, skip: int = 0, limit: int = 0) -> list[bytes]:
        """The stored headers (DICOM JSON) of a series in display order; all, or a page."""
        found = await self._reader.find(
            "instances",
            {"series_key": series_key},
            order=INSTANCE_ORDER,
            skip=skip,
            limit=limit,
            projection={"header": 1},
        )
        return [document["header"] for document in found]

    async def headers(self, instance_keys: Sequence[str]) -> dict[str, bytes]:
        """Stored headers by the instances' `_id`s."""
        where = {"_id": {"$in": list(instance_keys)}}
        found = await self._reader.find("instances", where, projection={"header": 1})
        return {document["_id"]: document["header"] for document in found}

    async def first_headers(self, keys: Sequence[str], level: Level) -> dict[str, bytes]:
        """For each study or series, the header of the instance its facts come from."""
        documents = await self._reader.find(
            level.collection, {"_id": {"$in": list(keys)}}, projection={"facts_from": 1, "study_key": 1}
        )
        wanted = {
            f"{document.get('study_key') or document['_id']}/{document['facts_from']}": document["_id"]
            for document in documents
            if document.get("facts_from")
        }
        return {wanted[key]: header for key, header in (await self.headers(list(wanted))).items()}


def _at_level(clause: Clause, level: Level) -> dict[str, Any]:
    """The access clause, written for studies, for the documents of a level."""
    if level is STUDIES:
        return dict(clause)

    def rewrite(part: Any) -> Any:
        if isinstance(part, Mapping):
            return {("study_key" if name == "_id" else name): rewrite(value) for name, value in part.items()}
        return [rewrite(item) for item in part] if isinstance(part, list) else part

    return dict(rewrite(clause))


class MongoIndexReader:
    """`IndexReader` on MongoDB."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]]) -> None:
        self._database = database.with_options(read_preference=ReadPreference.PRIMARY)

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
        """See `IndexReader.find`."""
        cursor = self._database[collection].find(
            dict(where), projection, skip=skip, limit=limit, max_time_ms=FIND_DEADLINE_MS
        )
        if order:
            cursor = cursor.sort(list(order))
        try:
            return await cursor.to_list()
        except PyMongoError as error:
            raise IndexUnavailable(f"the index does not answer: {type(error).__name__}") from error

    async def merged(
        self, level: Level, where: Clause, *, prefer: str, limit: int, offset: int
    ) -> tuple[list[list[dict[str, Any]]], int]:
        """See `IndexReader.merged`."""
        order = dict(level.order)
        group = {"_id": f"${level.uid_field}", "documents": {"$push": "$$ROOT"}}
        group |= {name: {("$max" if way < 0 else "$min"): f"${name}"} for name, way in order.items()}
        pipeline: list[dict[str, Any]] = [
            {"$match": dict(where)},
            {"$project": {"header": 0, "location": 0, "digests": 0}},
            {"$set": {"_foreign": {"$ne": ["$holder", prefer]}}},
            {"$sort": {"_foreign": 1, "instance_count": -1, "holder": 1}},
            {"$group": group},
            {"$sort": {**order, "_id": 1}},
            {
                "$facet": {
                    "rows": [{"$skip": offset}, {"$limit": max(1, limit)}, {"$project": {"documents": 1}}],
                    "total": [{"$count": "n"}],
                }
            },
        ]
        options: dict[str, Any] = {"maxTimeMS": FIND_DEADLINE_MS, "allowDiskUse": True}
        try:
            cursor = await self._database[level.collection].aggregate(pipeline, **options)
            (answer,) = await cursor.to_list()
        except PyMongoError as error:
            raise IndexUnavailable(f"the index does not answer: {type(error).__name__}") from error
        total = answer["total"][0]["n"] if answer["total"] else 0
        return [row["documents"] for row in answer["rows"]] if limit else [], total
