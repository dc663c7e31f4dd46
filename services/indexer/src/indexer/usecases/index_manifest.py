"""A staged batch's or archive pack's manifest enters; instances, series and study in the index leave, with the events
that say so, in one transaction per thousand instances."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from imaging_common.events import InstancesLocated, ManifestEntry
from imaging_common.objects.model import ARCHIVE_BUCKET, STAGING_BUCKET, Manifest, StoredInstance, manifest_key
from imaging_common.telemetry import get_logger
from indexer.errors import ForeignManifest
from indexer.model import (
    Document,
    Facts,
    Known,
    Verdict,
    instance_document,
    judge,
    location_of,
    series_facts,
    study_facts,
)
from indexer.ports import Index, StudyUnit
from indexer.usecases.restate_study import restate_study

CHUNK = 1000
"""Instances per transaction: MongoDB ends transactions after 60 s."""
LOCATED_TOPIC = "instances-located"
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
        name = f"{STAGING_BUCKET if manifest.kind == 'batch' else ARCHIVE_BUCKET}/{key}"
        if await self._index.indexed([name]):
            if manifest.kind == "pack":
                await self._say_again(manifest, key, name)
            return
        replaces = [f"{ARCHIVE_BUCKET}/{key}" for key in manifest.replaces]
        chunks = [manifest.instances[i : i + CHUNK] for i in range(0, len(manifest.instances), CHUNK)] or [[]]
        tier = await self._index.tier_of(manifest.hospital)
        for position, chunk in enumerate(chunks):
            last = position == len(chunks) - 1

            async def work(unit: StudyUnit, chunk: Sequence[StoredInstance] = chunk, last: bool = last) -> None:
                if await unit.replaced(name):
                    return
                change = _Change(unit, manifest)
                await change.take(chunk)
                await change.write()
                quiet_due = self._now() + self._quiet if change.arrived and not manifest.has_edge else None
                await restate_study(
                    unit,
                    manifest.hospital,
                    manifest.study_uid,
                    tier=tier,
                    epoch=self._index.epoch,
                    now=self._now(),
                    facts=change.study,
                    quiet_due=quiet_due,
                )
                if last:
                    await unit.mark_indexed(name, replaces)
                if manifest.kind == "pack" and chunk:
                    await _emit_located(unit, manifest, key, chunk)

            await self._index.change(manifest.hospital, manifest.study_uid, work)
        log.info("manifest indexed", kind=manifest.kind, instances=len(manifest.instances), hospital=manifest.hospital)

    async def _say_again(self, manifest: Manifest, key: str, name: str) -> None:
        """The archive asks again about a pack that is indexed: the first answer was lost on its way."""
        for start in range(0, len(manifest.instances), CHUNK):
            chunk = manifest.instances[start : start + CHUNK]

            async def work(unit: StudyUnit, chunk: Sequence[StoredInstance] = chunk) -> None:
                if not await unit.replaced(name):
                    await _emit_located(unit, manifest, key, chunk)

            await self._index.change(manifest.hospital, manifest.study_uid, work)


async def _emit_located(unit: StudyUnit, manifest: Manifest, key: str, chunk: Sequence[StoredInstance]) -> None:
    located = [ManifestEntry(sop_instance_uid=i.sop_instance_uid, sha256=i.sha256) for i in chunk]
    event = InstancesLocated(
        hospital=manifest.hospital, study_uid=manifest.study_uid, manifest_key=key, instances=located
    )
    await unit.emit(LOCATED_TOPIC, event, manifest.study_uid)


class _Change:
    """Collects what a chunk changes, then writes it in few round trips."""

    def __init__(self, unit: StudyUnit, manifest: Manifest) -> None:
        self._unit = unit
        self._manifest = manifest
        self._documents: dict[str, Document] = {}
        self._locations: dict[str, Document] = {}
        self._superseded: list[Document] = []
        self._conflicting: list[Document] = []
        self._locations_aside: dict[tuple[str, str], Document] = {}
        self._series: dict[str, Facts] = defaultdict(Facts)
        self.study = Facts()
        self.arrived = False

    async def take(self, chunk: Sequence[StoredInstance]) -> None:
        """Judge each instance against what is known."""
        known = await self._unit.known([stored.sop_instance_uid for stored in chunk])
        present = await self._unit.study()
        self.study = Facts((present or {}).get("facts_from", ""))
        for document in await self._unit.series():
            self._series[document["series_uid"]] = Facts(document["facts_from"])
        for stored in chunk:
            known[stored.sop_instance_uid] = await self._take_one(known.get(stored.sop_instance_uid), stored)

    async def _take_one(self, known: Known | None, stored: StoredInstance) -> Known:
        uid = stored.sop_instance_uid
        verdict = judge(known, stored)
        if known is None:
            self._serve(stored, [])
            return Known(stored.sha256, stored.pixel_sha256, [stored.sha256], self._manifest.data_key)
        if verdict is Verdict.SAME:
            self._relocate(stored)
            return known
        if verdict is Verdict.KNOWN:
            if self._manifest.kind == "pack":
                self._locations_aside[uid, stored.sha256] = location_of(self._manifest, stored)
            return known
        digests = [*known.digests, stored.sha256]
        if verdict is Verdict.CORRECTION:
            self._superseded.append(_aside(await self._whole(uid)))
            self._serve(stored, known.digests)
            return Known(stored.sha256, stored.pixel_sha256, digests, self._manifest.data_key)
        self._conflicting.append(_aside(instance_document(self._manifest, stored)))
        served = await self._whole(uid)
        self._documents[uid] = {**served, "digests": digests}
        self.arrived = True
        return Known(known.sha256, known.pixel_sha256, digests, known.location_key)

    async def _whole(self, uid: str) -> Document:
        if uid in self._documents:
            return self._documents.pop(uid)
        document = await self._unit.whole(uid)
        return {**document, "location": self._locations.pop(uid, document["location"])}

    def _serve(self, stored: StoredInstance, digests: Sequence[str]) -> None:
        self._documents[stored.sop_instance_uid] = instance_document(self._manifest, stored, digests)
        self._series[stored.series_uid].offer(stored.sop_instance_uid, series_facts(stored.header))
        self.study.offer(stored.sop_instance_uid, study_facts(stored.header))
        self.arrived = True

    def _relocate(self, stored: StoredInstance) -> None:
        if self._manifest.kind != "pack":
            return
        location = location_of(self._manifest, stored)
        if stored.sop_instance_uid in self._documents:
            self._documents[stored.sop_instance_uid]["location"] = location
        else:
            self._locations[stored.sop_instance_uid] = location

    async def write(self) -> None:
        """Write everything."""
        await self._unit.put_aside("instance_versions", self._superseded)
        await self._unit.put_aside("conflicts", self._conflicting)
        await self._unit.put_instances(list(self._documents.values()))
        await self._unit.relocate(self._locations)
        await self._unit.relocate_aside(self._locations_aside)
        await self._unit.put_series(
            [
                {
                    "_id": f"{self._manifest.hospital}/{self._manifest.study_uid}/{series_uid}",
                    "study_key": f"{self._manifest.hospital}/{self._manifest.study_uid}",
                    "study_uid": self._manifest.study_uid,
                    "series_uid": series_uid,
                    "holder": self._manifest.hospital,
                    "facts_from": facts.source,
                    **facts.values,
                }
                for series_uid, facts in self._series.items()
                if facts.values
            ]
        )


def _aside(document: Document) -> dict[str, Any]:
    return {**document, "_id": f"{document['_id']}/{document['sha256']}"}
