"""Gives studies that an earlier version indexed the fields that searches and links go by."""

from pymongo import UpdateOne
from pymongo.asynchronous.database import AsyncDatabase

from imaging_common.index.listing import listing_of
from imaging_common.telemetry import get_logger
from indexer.model import Document
from indexer.residents import patient_key

BATCH = 1000
log = get_logger(__name__)


async def fill_listings(database: AsyncDatabase[Document]) -> int:
    """Fill them in, in batches; how many studies lacked them. Needs the index on `patient_key`."""
    hospitals = {document["_id"] for document in await database.hospitals.find({}, {"_id": 1}).to_list()}
    count = 0
    while found := await database.studies.find({"patient_key": {"$exists": False}}).limit(BATCH).to_list():
        await database.studies.bulk_write(
            [UpdateOne({"_id": d["_id"]}, {"$set": _fields(d, hospitals)}) for d in found]
        )
        count += len(found)
    if count:
        log.info("studies of an earlier version are listed", studies=count)
    return count


def _fields(study: Document, hospitals: set[str]) -> Document:
    issuer = study["patient"]["issuer"]
    key = patient_key(issuer if issuer in hospitals else study["holder"], study["patient"]["id"])
    return {**listing_of(study), "patient_key": key, "linked_by": study.get("linked_by", "")}
