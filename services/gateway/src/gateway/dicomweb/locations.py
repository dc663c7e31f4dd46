"""Where instances' bytes lie: a series' locations are remembered briefly, and looked up anew when bytes have moved."""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from starlette.exceptions import HTTPException

from gateway.dicomweb.access import NOT_FOUND
from imaging_common.ids import is_uid
from imaging_common.index.model import InstanceDocument
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
    by_uid: dict[str, InstanceDocument]


class Locations:
    """A bounded cache in front of the index."""

    def __init__(self, index: StudyIndex) -> None:
        self._index = index
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

    async def instance(self, study_keys: Sequence[str], series_uid: str, sop_instance_uid: str) -> InstanceDocument:
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

    async def read(self, instance: InstanceDocument, read: Callable[[InstanceDocument], Awaitable[T]]) -> T:
        """Run `read`; if the bytes have moved (staging to archive), once more with where they are now."""
        try:
            return await read(instance)
        except ObjectNotFound:
            return await read(await self.moved(instance))

    async def moved(self, instance: InstanceDocument) -> InstanceDocument:
        """The instance as the index has it now; its series is looked up anew, too."""
        series = await self.series(f"{instance.holder}/{instance.study_uid}/{instance.series_uid}", fresh=True)
        now = series.by_uid.get(instance.sop_instance_uid)
        if now is None or now.sha256 != instance.sha256:
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
