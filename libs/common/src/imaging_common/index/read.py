"""Questions to the region's index, read only: what the gateway's search, viewer and portal pages ask.

A study without instances (announced, or claimed, but nothing arrived) is never an answer: it must neither be listed
nor open access to anything.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase

from imaging_common.index.levels import (
    INSTANCE_ORDER,
    INSTANCES,
    SERIES,
    SERIES_ORDER,
    STUDIES,
    STUDY_ORDER,
    Level,
    Page,
    Row,
)
from imaging_common.index.model import InstanceDocument, ListedInstance, SeriesDocument, StudyDocument
from imaging_common.index.reader import IndexReader, IndexUnavailable, MongoIndexReader
from imaging_common.index.residents import MAX_MERGED, Resident, resident_of
from imaging_common.index.search import LOOKAHEAD, MAX_OFFSET, IndexSearch
from imaging_common.index.streams import Clause

__all__ = [
    "INSTANCES",
    "INSTANCE_ORDER",
    "LOOKAHEAD",
    "MAX_OFFSET",
    "SERIES",
    "SERIES_ORDER",
    "STUDIES",
    "STUDY_ORDER",
    "IndexReader",
    "IndexUnavailable",
    "Level",
    "MongoIndexReader",
    "Page",
    "Row",
    "StudyIndex",
]

PRESENT: Clause = {"instance_count": {"$gt": 0}, "withdrawn": {"$ne": True}, "deleted": {"$ne": True}}
WITHOUT_HEADER: Mapping[str, int] = {"header": 0}


class StudyIndex(IndexSearch):
    """The region's index as its readers see it."""

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

    async def digests_of(self, holder: str, sop_instance_uids: Sequence[str]) -> dict[str, set[str]]:
        """By SOP Instance UID, the SHA-256 digests under which a holder's listed studies have it in the centre."""
        where = {"sop_instance_uid": {"$in": list(sop_instance_uids)}, "holder": holder, "location": {"$ne": None}}
        fields = {"sop_instance_uid": 1, "digests": 1, "sha256": 1, "study_key": 1}
        found = await self._reader.find("instances", where, projection=fields)
        listed = await self._listed({document["study_key"] for document in found}) if found else set()
        known: dict[str, set[str]] = {}
        for document in found:
            if document["study_key"] in listed:
                digests = {*document.get("digests", ()), document.get("sha256") or ""} - {""}
                known.setdefault(document["sop_instance_uid"], set()).update(digests)
        return known

    async def instances_of(self, series_key: str) -> list[ListedInstance]:
        """The instances of a series in display order, without headers."""
        found = await self._reader.find(
            "instances", {"series_key": series_key}, order=INSTANCE_ORDER, projection=WITHOUT_HEADER
        )
        return [ListedInstance.from_mongo(document) for document in found]

    async def encodings_of(self, study_key: str) -> list[dict[str, Any]]:
        """Of each instance of a study: `series_key`, `transfer_syntax_uid`, `location.bucket`, `location.encoding`.

        `location` is None where its bytes lie at the holder only.
        """
        fields = ("series_key", "transfer_syntax_uid", "location.bucket", "location.encoding")
        return await self._reader.find("instances", {"study_key": study_key}, projection=dict.fromkeys(fields, 1))

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
