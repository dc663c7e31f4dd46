"""Warms the cache tier before anybody looks: for a consult, for an opened record, for the priors of an opened study.

What a hospital cannot give now is passed over: prefetching is a favour, the look itself asks again.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

import structlog
from pymongo.errors import PyMongoError

from gateway.retrievals.retriever import Retriever
from imaging_common.errors import ImagingError
from imaging_common.events import ConsultSubmitted
from imaging_common.index.model import StudyDocument
from imaging_common.index.read import StudyIndex

_log = structlog.get_logger(__name__)
LOOKED_AT = 50
"""Earlier studies among which the likeliest are chosen."""


class Prefetch:
    """Asks the retriever at low priority.

    Parameters
    ----------
    priors
        Earlier studies per opened study.
    record
        Studies per opened record of the EHR.
    """

    def __init__(self, index: StudyIndex, retriever: Retriever, priors: int, record: int) -> None:
        self._index = index
        self._retriever = retriever
        self._priors = priors
        self._record = record
        self._tasks: set[asyncio.Task[None]] = set()

    async def case(self, event: ConsultSubmitted) -> None:
        """The studies of a case, at the holders it names."""
        for ref in event.studies:
            for document in await self._index.holders_of(ref.study_uid):
                if document.holder == ref.holder:
                    await self._retriever.prefetch(document)

    async def record(self, resident_id: str) -> int:
        """A resident's most recent studies, of all hospitals; how many were asked for."""
        found = await self._index.recent(await self._of_resident(resident_id), limit=LOOKED_AT)
        return await self._some(found, self._record)

    async def opened(self, documents: Sequence[StudyDocument]) -> int:
        """Somebody opens these studies: they come at once, before a viewer asks; their priors at low priority."""
        for document in documents:
            await self._retriever.warm(document)
        return await self.priors(documents)

    async def priors(self, opened: Sequence[StudyDocument]) -> int:
        """Earlier studies of the persons of these studies, the same body part first; how many were asked for."""
        asked = 0
        persons = {str(same_person(document)): document for document in opened if self._priors}
        for document in persons.values():
            where = same_person(document)
            if document.resident_id:
                where = await self._of_resident(document.resident_id)
            found = await self._index.recent(where, limit=LOOKED_AT) if where else []
            known = {one.study_uid for one in opened}
            others = [one for one in found if one.study_uid not in known]
            parts = set(document.body_parts)
            others.sort(key=lambda one: not parts & set(one.body_parts))
            asked += await self._some(others, self._priors)
        return asked

    async def _of_resident(self, resident_id: str) -> dict[str, Any]:
        """The clause for a person's studies, under whichever of their ids."""
        return {"resident_id": {"$in": list((await self._index.resident(resident_id)).ids)}}

    def later(self, work: Coroutine[Any, Any, int]) -> None:
        """Do it beside the request that led to it; a failure costs nothing but the favour."""

        async def run() -> None:
            try:
                await work
            except (ImagingError, PyMongoError) as error:
                _log.warning("not-prefetched", error=type(error).__name__)

        task = asyncio.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _some(self, documents: Sequence[StudyDocument], limit: int) -> int:
        asked = 0
        for document in documents[:limit]:
            asked += await self._retriever.prefetch(document)
        return asked


def same_person(document: StudyDocument) -> dict[str, Any]:
    """The clause for studies of the same resident; of the same patient at the same holder when there is no link."""
    if document.resident_id:
        return {"resident_id": document.resident_id}
    if not document.patient.id:
        return {}
    return {
        "holder": document.holder,
        "patient.id": document.patient.id,
        "patient.issuer": document.patient.issuer,
    }
