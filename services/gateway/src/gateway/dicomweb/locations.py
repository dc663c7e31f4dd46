"""Where instances' bytes lie: a series' locations are remembered briefly, and looked up anew when bytes have moved.

What lies at its hospital only is brought into the cache tier first (`gateway.retrievals`).
"""

import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from starlette.exceptions import HTTPException

from gateway.dicomweb.access import NOT_FOUND
from gateway.dicomweb.partial import refused
from gateway.errors import HolderAway
from gateway.retrievals.measures import SERVED
from gateway.retrievals.model import Away
from gateway.retrievals.retriever import Retriever
from imaging_common.ids import is_uid
from imaging_common.index.model import InstanceDocument, ListedInstance
from imaging_common.index.read import StudyIndex
from imaging_common.objects.store import ObjectNotFound

T = TypeVar("T")
FRESH_SECONDS = 10.0
MAX_INSTANCES = 50_000


@dataclass(slots=True)
class Series:
    """The instances of one series at one holder, in display order."""

    key: str
    loaded_at: float
    by_uid: dict[str, ListedInstance]


class Locations:
    """A bounded cache in front of the index."""

    def __init__(self, index: StudyIndex, retriever: Retriever | None = None) -> None:
        self._index = index
        self._retriever = retriever
        self._series: OrderedDict[str, Series] = OrderedDict()
        self._count = 0

    async def series(self, series_key: str, *, fresh: bool = False) -> Series:
        """The series; empty when there is none."""
        known = self._series.get(series_key)
        if known is not None and not fresh and time.monotonic() - known.loaded_at < FRESH_SECONDS:
            self._series.move_to_end(series_key)
            return known
        instances = await self._index.instances_of(series_key)
        found = Series(series_key, time.monotonic(), {i.sop_instance_uid: i for i in instances})
        self._put(found)
        return found

    async def instance(self, study_keys: Sequence[str], series_uid: str, sop_instance_uid: str) -> ListedInstance:
        """One instance, at the first of the holders that has its series.

        Raises
        ------
        HTTPException
            404: nobody of them has it.
        """
        if is_uid(series_uid) and is_uid(sop_instance_uid):
            for study_key in study_keys:
                series_key = f"{study_key}/{series_uid}"
                known = self._series.get(series_key)
                fresh = known is not None and time.monotonic() - known.loaded_at < FRESH_SECONDS
                if known is not None and fresh and (found := known.by_uid.get(sop_instance_uid)):
                    return found
                found = await self._index.instance(study_key, sop_instance_uid)
                if found is not None and found.series_uid == series_uid:
                    if known is not None and fresh and self._series.get(series_key) is known:
                        self._count += sop_instance_uid not in known.by_uid
                        known.by_uid[sop_instance_uid] = found
                    else:
                        await self.series(series_key, fresh=True)
                    return found
        raise HTTPException(404, NOT_FOUND)

    async def here(self, listed: ListedInstance, *, whole: bool = False, priority: int = 0) -> InstanceDocument:
        """The instance with its bytes in the centre; `whole`: the rest of its study is wanted after it.

        Raises
        ------
        Problem
            503 or 410: its holder cannot give it.
        """
        try:
            return await self.brought(listed, whole=whole, priority=priority)
        except HolderAway as error:
            raise refused(error.away) from error

    async def brought(self, listed: ListedInstance, *, whole: bool = False, priority: int = 0) -> InstanceDocument:
        """As `here`.

        Raises
        ------
        HolderAway
            Its holder cannot give it.
        """
        if isinstance(listed, InstanceDocument):
            SERVED.labels(listed.holder, listed.location.bucket).inc()
            return listed
        if self._retriever is None:
            raise HolderAway(Away(listed.holder, "not-given"))
        found = await self._retriever.bring(listed, whole=whole, priority=priority)
        SERVED.labels(found.holder, "pacs").inc()
        self.landed(found)
        return found

    async def each(self, listed: Sequence[ListedInstance], *, priority: int = 0) -> AsyncIterator[InstanceDocument]:
        """Instances of one study at one holder: those that are here, then the others as they land.

        Raises
        ------
        HolderAway
            Others do not come.
        """
        absent: list[ListedInstance] = []
        for one in listed:
            if isinstance(one, InstanceDocument):
                SERVED.labels(one.holder, one.location.bucket).inc()
                yield one
            else:
                absent.append(one)
        if absent and self._retriever is None:
            raise HolderAway(Away(absent[0].holder, "not-given"))
        if absent and self._retriever is not None:
            async for found in self._retriever.each(absent, priority=priority):
                SERVED.labels(found.holder, "pacs").inc()
                self.landed(found)
                yield found

    def away(self, holder: str, study_uid: str = "") -> Away | None:
        """Why a holder cannot be asked now; None: it can."""
        return self._retriever.away(holder, study_uid) if self._retriever else None

    def landed(self, instance: InstanceDocument) -> None:
        """Its bytes have come."""
        series = self._series.get(f"{instance.holder}/{instance.study_uid}/{instance.series_uid}")
        if series is not None and instance.sop_instance_uid in series.by_uid:
            series.by_uid[instance.sop_instance_uid] = instance

    async def read(self, instance: InstanceDocument, read: Callable[[InstanceDocument], Awaitable[T]]) -> T:
        """Run `read`; if the bytes have moved (staging to archive) or were evicted, once more with where they are."""
        try:
            return await read(instance)
        except ObjectNotFound:
            return await read(await self.moved(instance))

    async def moved(self, instance: InstanceDocument) -> InstanceDocument:
        """The instance as the index has it now, brought anew if need be; its series is looked up anew, too."""
        series = await self.series(f"{instance.holder}/{instance.study_uid}/{instance.series_uid}", fresh=True)
        now = series.by_uid.get(instance.sop_instance_uid)
        if now is not None and instance.location.bucket == "cache":
            if isinstance(now, InstanceDocument) and now.location.key == instance.location.key:
                now = ListedInstance.model_validate({**now.model_dump(by_alias=True), "location": None})
            return await self.here(now)
        if not isinstance(now, InstanceDocument) or now.sha256 != instance.sha256:
            raise HTTPException(404, NOT_FOUND)
        return now

    def _put(self, series: Series) -> None:
        old = self._series.pop(series.key, None)
        self._count += len(series.by_uid) - (len(old.by_uid) if old else 0)
        if series.by_uid:
            self._series[series.key] = series
        while self._count > MAX_INSTANCES and len(self._series) > 1:
            _, dropped = self._series.popitem(last=False)
            self._count -= len(dropped.by_uid)
