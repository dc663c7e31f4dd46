"""Questions to the region's index, read only: what the gateway's search, viewer and portal pages ask.

A study without instances (announced, or claimed, but nothing arrived) is never an answer: it must neither be listed
nor open access to anything.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from pymongo import ReadPreference
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError

from imaging_common.access import Subject, visible_studies
from imaging_common.errors import RetryableError
from imaging_common.index.listing import LISTED
from imaging_common.index.model import InstanceDocument, ListedInstance, SeriesDocument, StudyDocument
from imaging_common.index.residents import MAX_MERGED, Resident, resident_of
from imaging_common.index.streams import Clause, conjuncts, in_order, joined, places, scope_of, split

PRESENT: Clause = {"instance_count": {"$gt": 0}, "withdrawn": {"$ne": True}, "deleted": {"$ne": True}}
WITHOUT_HEADER: Mapping[str, int] = {"header": 0}
NOT_IN_ROWS: Mapping[str, int] = {"header": 0, "location": 0, "digests": 0, "tokens": 0}
FIND_DEADLINE_MS = 5_000
MAX_KEYS = 10_000
"""Upper levels that a search at a lower level looks into."""

LOOKAHEAD = 100
"""So many more rows than asked for are counted; behind them is only "more"."""
MAX_OFFSET = 10_000
"""No page begins later: whoever wants to see more than that should narrow the search."""
SLACK = 16
"""Documents read beyond the wanted rows, for holders of the same study."""

STUDY_ORDER = (("place", -1),)
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
    """How many more there are behind this page, counted up to a bound."""
    more: bool = False
    """Whether there are even more than `remaining`."""


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
        found = await self._reader.find("studies", {"study_uid": study_uid, **PRESENT}, order=(("holder", 1),))
        return [StudyDocument.model_validate(document) for document in found]

    async def recent(self, where: Clause, *, limit: int) -> list[StudyDocument]:
        """Listed studies, newest first, at every holder; for the system's own use, not access-checked."""
        found = await self._reader.find("studies", {**where, **PRESENT}, order=STUDY_ORDER, limit=limit)
        return [StudyDocument.model_validate(document) for document in found]

    async def studies_named(self, name: str, *, limit: int) -> list[StudyDocument]:
        """Studies with this UID, accession number or patient id, deleted ones too; not access-checked."""
        where = {"$or": [{"study_uid": name}, {"accession": name}, {"patient.id": name}]}
        found = await self._reader.find("studies", where, order=STUDY_ORDER, limit=limit) if name else []
        return [StudyDocument.model_validate(document) for document in found]

    async def resident(self, resident_id: str) -> Resident:
        """The person behind a resident's id: merges are followed."""
        known: dict[str, dict[str, Any]] = {}
        asked: set[str] = set()
        while (new := {resident_id, *known, *(d["into"] for d in known.values())} - asked) and len(known) < MAX_MERGED:
            asked |= new
            where = {"$or": [{"_id": {"$in": sorted(new)}}, {"into": {"$in": sorted(new)}}]}
            known |= {document["_id"]: document for document in await self._reader.find("merges", where)}
        return resident_of(resident_id, list(known.values()))

    async def search_studies(
        self,
        subject: Subject,
        where: Clause | None = None,
        *,
        limit: int = 100,
        offset: int = 0,
        lookahead: int = LOOKAHEAD,
    ) -> Page:
        """Studies the subject may see, newest first, one row per Study Instance UID."""
        return await self.search(STUDIES, subject, where or {}, limit=limit, offset=offset, lookahead=lookahead)

    async def search(
        self,
        level: Level,
        subject: Subject,
        where: Clause,
        *,
        limit: int,
        offset: int,
        lookahead: int = LOOKAHEAD,
    ) -> Page:
        """One page of a level, merged over the holders the subject may see; headers are left out.

        Of the holders of a row the one that matches comes first, then the subject's own hospital, then the fullest.
        """
        visible = _at_level(visible_studies(subject), level)
        found, more = await self._walk(level, visible, where, min(offset, MAX_OFFSET) + limit + lookahead)
        uids = found[offset : offset + limit]
        rows = await self._rows(level, subject.hospital, visible, where, uids) if uids else []
        return Page(rows, max(0, len(found) - offset - limit), more)

    async def _walk(self, level: Level, visible: Clause, where: Clause, wanted: int) -> tuple[list[str], bool]:
        """The UIDs of the first `wanted` rows in order, and whether there are more."""
        listed = places(where) if level is STUDIES else {}
        streams = split(visible, where, listed)
        fields = {level.uid_field: 1, **{name: 1 for name, _ in level.order}}
        limit = wanted + SLACK
        while True:
            parts = await asyncio.gather(
                *(
                    self._reader.find(level.collection, stream, order=level.order, limit=limit, projection=fields)
                    for stream in streams
                )
            )
            cut = any(len(part) == limit for part in parts)
            documents = in_order(parts, level.order)[: limit if cut else None]
            uids = list(dict.fromkeys(document[level.uid_field] for document in documents))
            if not cut or len(uids) > wanted:
                return uids[:wanted], len(uids) > wanted
            limit *= 2

    async def _rows(self, level: Level, prefer: str, visible: Clause, where: Clause, uids: Sequence[str]) -> list[Row]:
        """The rows' documents at every holder that the asker may see and the search looks into."""
        scope = [{level.uid_field: {"$in": list(uids)}}, *scope_of(where), *([LISTED] if level is STUDIES else [])]
        found = [
            document
            for stream in split(visible, *scope)
            for document in await self._reader.find(level.collection, stream, projection=NOT_IN_ROWS)
        ]
        if level is not STUDIES:
            listed = await self._listed({document["study_key"] for document in found})
            found = [document for document in found if document["study_key"] in listed]
        rows: list[Row] = []
        groups: dict[str, dict[str, dict[str, Any]]] = {uid: {} for uid in uids}
        for document in found:
            groups[document[level.uid_field]][document["_id"]] = document
        several = [key for group in groups.values() if len(group) > 1 for key in group]
        matching = await self._matching(level, several, where) if several else set()
        for group in groups.values():
            documents = sorted(
                group.values(),
                key=lambda d: (
                    d["_id"] not in matching, d["holder"] != prefer, -d.get("instance_count", 0), d["holder"],
                ),
            )  # fmt: skip
            if documents:
                rows.append(Row(tuple(documents)))
        return rows

    async def _matching(self, level: Level, keys: Sequence[str], where: Clause) -> set[str]:
        """Which of these documents match the search themselves, beside others of their row."""
        clause = joined([{"_id": {"$in": list(keys)}}, *conjuncts(where)])
        return {d["_id"] for d in await self._reader.find(level.collection, clause, projection={"_id": 1})}

    async def _listed(self, study_keys: Iterable[str]) -> set[str]:
        clause = {"_id": {"$in": sorted(study_keys)}, **LISTED}
        return {d["_id"] for d in await self._reader.find("studies", clause, projection={"_id": 1})}

    async def keys(self, level: Level, subject: Subject, where: Clause) -> list[str]:
        """The `_id`s of studies or series that match, to search below them."""
        visible = _at_level(visible_studies(subject), level)
        return sorted({d["_id"] for d in await self._some(level, visible, where, {"_id": 1})})

    async def study_keys(self, level: Level, subject: Subject, where: Clause) -> list[str]:
        """The `_id`s of the studies that have something matching at a lower level."""
        visible = _at_level(visible_studies(subject), level)
        return sorted({d["study_key"] for d in await self._some(level, visible, where, {"study_key": 1})})

    async def _some(
        self, level: Level, visible: Clause, where: Clause, projection: Mapping[str, int]
    ) -> list[dict[str, Any]]:
        """Up to `MAX_KEYS` documents that match; of studies only listed ones."""
        streams = split(visible, where, places(where) if level is STUDIES else {})
        parts = [
            await self._reader.find(level.collection, stream, limit=MAX_KEYS, projection=projection)
            for stream in streams
        ]
        return [document for part in parts for document in part][:MAX_KEYS]

    async def documents(self, level: Level, keys: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Studies or series by their `_id`s."""
        found = await self._reader.find(level.collection, {"_id": {"$in": sorted(keys)}})
        return {document["_id"]: document for document in found}

    async def series_of(self, study_keys: Sequence[str]) -> list[SeriesDocument]:
        """The series of studies, named by their keys `<holder>/<study>`, in display order."""
        found = await self._reader.find("series", {"study_key": {"$in": list(study_keys)}}, order=SERIES_ORDER)
        return [SeriesDocument.model_validate(document) for document in found]

    async def instance(self, study_key: str, sop_instance_uid: str) -> ListedInstance | None:
        """One instance without its header."""
        where = {"_id": f"{study_key}/{sop_instance_uid}"}
        found = await self._reader.find("instances", where, limit=1, projection=WITHOUT_HEADER)
        return ListedInstance.from_mongo(found[0]) if found else None

    async def instances_of(self, series_key: str) -> list[ListedInstance]:
        """The instances of a series in display order, without headers."""
        found = await self._reader.find(
            "instances", {"series_key": series_key}, order=INSTANCE_ORDER, projection=WITHOUT_HEADER
        )
        return [ListedInstance.from_mongo(document) for document in found]

    async def located(self, instance_keys: Sequence[str]) -> list[InstanceDocument]:
        """Those of the instances whose bytes lie in the centre now, without headers."""
        where = {"_id": {"$in": list(instance_keys)}, "location": {"$ne": None}}
        found = await self._reader.find("instances", where, projection=WITHOUT_HEADER)
        return [InstanceDocument.from_mongo(document) for document in found]

    async def headers_of(self, series_key: str, *, skip: int = 0, limit: int = 0) -> list[bytes]:
        """The whole headers (DICOM JSON) of a series that are known, in display order; all, or a page."""
        found = await self._reader.find(
            "instances",
            {"series_key": series_key, "header_full": {"$ne": False}},
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
            if level is INSTANCES and isinstance(part.get("holder"), str):
                return {"series_key": {"$gte": f"{part['holder']}/", "$lt": f"{part['holder']}0"}}  # "0" follows "/"
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
