"""The manifest of a staged or cached batch or of an archive pack enters; instances, series and study in the index
leave, with the events that say so, in one transaction per thousand instances."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from prometheus_client import Counter

from imaging_common.events import InstancesLocated, ManifestEntry
from imaging_common.objects.model import ARCHIVE_BUCKET, Manifest, StoredInstance, manifest_key
from imaging_common.telemetry import get_logger
from indexer.errors import ForeignManifest
from indexer.ports import Fate, Index, StudyUnit
from indexer.usecases.change_instances import InstanceChange
from indexer.usecases.reject_instances import reject_instances
from indexer.usecases.restate_study import restate_study

CHUNK = 1000
"""Instances per transaction: MongoDB ends transactions after 60 s."""
LOCATED_TOPIC = "instances-located"
INDEXED = Counter("imaging_index_instances", "Instances of manifests that were indexed", ["hospital", "kind"])
CONFLICTS = Counter(
    "imaging_index_conflicts", "Instances kept aside: known UID, other pixels; a person decides", ["hospital"]
)
log = get_logger(__name__)


class IndexManifest:
    """Idempotent, and the same end whether a pack or the batch it was made of comes first."""

    def __init__(self, index: Index, quiet_seconds: float, now: Callable[[], datetime] = lambda: datetime.now(UTC)):
        self._index = index
        self._quiet = timedelta(seconds=quiet_seconds)
        self._now = now

    async def __call__(self, manifest: Manifest, key: str) -> None:
        """Index what the manifest at `key` holds.

        Raises
        ------
        ForeignManifest
            It lies under another hospital's or study's key than it says.
        """
        if not key.startswith(f"{manifest.hospital}/{manifest.study_uid}/") or key != manifest_key(manifest.data_key):
            raise ForeignManifest("a manifest contradicts the key it lies under")
        name = f"{manifest.lies_in}/{key}"
        if manifest.kind == "pack" and await self._index.indexed([name]):
            await self._say_again(manifest, key, name)
            return
        replaces = [f"{ARCHIVE_BUCKET}/{key}" for key in manifest.replaces]
        chunks = [manifest.instances[i : i + CHUNK] for i in range(0, len(manifest.instances), CHUNK)] or [[]]
        tier = await self._index.tier_of(manifest.hospital)
        conflicts: dict[str, int] = {}
        for position, chunk in enumerate(chunks):
            last = position == len(chunks) - 1

            async def work(unit: StudyUnit, chunk: Sequence[StoredInstance] = chunk, last: bool = last) -> None:
                if await unit.fate_of(name) is not Fate.NEW:
                    return
                change = InstanceChange(unit, manifest)
                await change.take(chunk)
                conflicts[chunk[0].sop_instance_uid if chunk else ""] = change.conflicts
                await change.write()
                rejected = await reject_instances(unit, manifest, chunk, change.study)
                quiet_due = self._now() + self._quiet if change.arrived and not manifest.has_edge else None
                await restate_study(
                    unit,
                    manifest.hospital,
                    manifest.study_uid,
                    tier=tier,
                    epoch=self._index.epoch,
                    now=self._now(),
                    facts=change.study,
                    recount=change.history or rejected,
                    quiet_due=quiet_due,
                )
                if last:
                    await unit.mark_indexed(name, replaces)
                if manifest.kind == "pack" and chunk:
                    await _emit_located(unit, manifest, key, chunk)

            await self._index.change(manifest.hospital, manifest.study_uid, work)
        INDEXED.labels(manifest.hospital, manifest.kind).inc(len(manifest.instances))
        CONFLICTS.labels(manifest.hospital).inc(sum(conflicts.values()))
        log.info("manifest indexed", kind=manifest.kind, instances=len(manifest.instances), hospital=manifest.hospital)

    async def _say_again(self, manifest: Manifest, key: str, name: str) -> None:
        """The archive asks again about a pack that is indexed: the first answer was lost on its way."""
        for start in range(0, len(manifest.instances), CHUNK):
            chunk = manifest.instances[start : start + CHUNK]

            async def work(unit: StudyUnit, chunk: Sequence[StoredInstance] = chunk) -> None:
                if await unit.fate_of(name) is not Fate.REPLACED:
                    await _emit_located(unit, manifest, key, chunk)

            await self._index.change(manifest.hospital, manifest.study_uid, work)


async def _emit_located(unit: StudyUnit, manifest: Manifest, key: str, chunk: Sequence[StoredInstance]) -> None:
    located = [ManifestEntry(sop_instance_uid=i.sop_instance_uid, sha256=i.sha256) for i in chunk]
    event = InstancesLocated(
        hospital=manifest.hospital, study_uid=manifest.study_uid, manifest_key=key, instances=located
    )
    await unit.emit(LOCATED_TOPIC, event, manifest.study_uid)
