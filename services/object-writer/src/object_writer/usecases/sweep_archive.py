"""Looks through the archive: packs that nobody noted are adopted, unfinished ones removed, forgotten ones announced."""

from datetime import UTC, datetime, timedelta

from imaging_common.objects.model import ARCHIVE_BUCKET
from imaging_common.objects.reports import is_report
from imaging_common.objects.store import ObjectInfo, ObjectStore
from object_writer.ports import Ledger
from object_writer.usecases.adopt_packs import AdoptPacks
from object_writer.usecases.sweep_staging import RemoveOrphans

PAGE = 500


class SweepArchive:
    """What makes the ledger derivable from the store, and lost events harmless."""

    def __init__(self, store: ObjectStore, adopt_packs: AdoptPacks, orphan_seconds: float) -> None:
        self._store = store
        self._adopt_packs = adopt_packs
        self._remove_orphans = RemoveOrphans(store, ARCHIVE_BUCKET, orphan_seconds)

    async def __call__(self) -> int:
        """One look; how many packs were adopted. A manifest (`….json`) comes before its data (`….pack`).

        The hospitals' reports lie in the archive, too; they are not the store keeper's.
        """
        adopted = await self._adopt_packs("")
        page, manifests = list[ObjectInfo](), set[str]()
        async for entry in self._store.list(ARCHIVE_BUCKET, ""):
            if is_report(entry.key):
                continue
            if entry.key.endswith(".json"):
                manifests.add(entry.key)
                continue
            page.append(entry)
            if len(page) >= PAGE:
                await self._remove_orphans(page, manifests)
                page, manifests = [], set()
        await self._remove_orphans(page, manifests)
        return adopted


class RemindIndex:
    """An event that Kafka lost, or that was dead-lettered, is sent again until the index answers."""

    def __init__(self, ledger: Ledger, seconds: float) -> None:
        self._ledger = ledger
        self._age = timedelta(seconds=seconds)

    async def __call__(self) -> int:
        """Announce again what the index has not acknowledged; how many packs."""
        return await self._ledger.remind(datetime.now(UTC) - self._age)
