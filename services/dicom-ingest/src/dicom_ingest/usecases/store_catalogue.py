"""Store a catalogue: what a hospital's PACS says of one study, checked against who sends it, in the cache tier."""

import asyncio

from prometheus_client import Counter

from dicom_ingest.errors import BadRequest
from dicom_ingest.model import Sender
from imaging_common.objects.catalogue import UnreadableCatalogue, catalogue_key, decode
from imaging_common.objects.model import CACHE_BUCKET
from imaging_common.objects.store import ObjectStore
from imaging_common.telemetry import get_logger

AT_ONCE = 2
"""Catalogues that are decoded at a time: a large one takes a multiple of its size in memory."""
CATALOGUES = Counter("imaging_ingest_catalogues", "Catalogues that arrived", ["outcome"])
log = get_logger(__name__)


class StoreCatalogue:
    """Called by the edge agent before it announces a study of its PACS."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._decoding = asyncio.Semaphore(AT_ONCE)

    async def __call__(self, sender: Sender, study_uid: str, data: bytes) -> str:
        """Store the encoded catalogue; its key in the bucket `cache`, the same for the same bytes.

        Raises
        ------
        BadRequest
            422, it is no catalogue, or one of another hospital or study.
        RetryableError
            MinIO is away.
        """
        async with self._decoding:
            wrong = await asyncio.to_thread(fault_of, data, sender.hospital, study_uid)
        if wrong:
            CATALOGUES.labels("refused").inc()
            log.warning("catalogue refused", hospital=sender.hospital, reason=wrong)
            raise BadRequest(422, wrong)
        key = catalogue_key(sender.hospital, study_uid, data)
        await self._store.put(CACHE_BUCKET, key, data)
        CATALOGUES.labels("stored").inc()
        log.info("catalogue stored", hospital=sender.hospital, bytes=len(data))
        return key


def fault_of(data: bytes, hospital: str, study_uid: str) -> str:
    """What is wrong with it, without a value of it; empty: nothing. Blocking."""
    try:
        catalogue = decode(data)
    except UnreadableCatalogue as error:
        return f"the body is no catalogue ({error})"
    if catalogue.hospital != hospital:
        return "hospital: not the one whose token sends the catalogue"
    if catalogue.study_uid != study_uid:
        return "study_uid: not the study that the address names"
    return ""
