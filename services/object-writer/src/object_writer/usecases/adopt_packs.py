"""Packs that lie in the archive and that nobody noted: their writer was killed, or the ledger is new."""

from imaging_common.errors import RejectedError
from imaging_common.objects.manifest import read_manifest
from imaging_common.objects.model import ARCHIVE_BUCKET
from imaging_common.objects.reports import is_report
from imaging_common.objects.store import ObjectStore
from imaging_common.telemetry import get_logger
from object_writer.model import belongs
from object_writer.ports import Ledger

PAGE = 500
log = get_logger(__name__)


class AdoptPacks:
    """A manifest proves its data: it is written after the data was read back."""

    def __init__(self, store: ObjectStore, ledger: Ledger) -> None:
        self._store = store
        self._ledger = ledger

    async def __call__(self, prefix: str) -> int:
        """Note what is not noted below `prefix`; how many packs."""
        count, page = 0, list[str]()
        async for entry in self._store.list(ARCHIVE_BUCKET, prefix):
            if entry.key.endswith(".json") and not is_report(entry.key):
                page.append(entry.key)
            if len(page) >= PAGE:
                count += await self._adopt(page)
                page = []
        return count + await self._adopt(page)

    async def _adopt(self, keys: list[str]) -> int:
        strangers = set(keys) - await self._ledger.known_packs(keys)
        for key in sorted(strangers):
            try:
                manifest = await read_manifest(self._store, ARCHIVE_BUCKET, key)
            except RejectedError as error:
                log.error("an archive manifest cannot be read", key=key, error=type(error).__name__)
                continue
            if manifest.kind == "pack" and belongs(manifest, key) and manifest.instances:
                await self._ledger.adopt_pack(manifest, key)
                log.info("pack adopted", hospital=manifest.hospital, instances=len(manifest.instances))
        return len(strangers)
