"""`Ledger` in memory, for unit tests; `published` holds the events."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime

from imaging_common.events import (
    BatchStored,
    Event,
    HospitalRegistered,
    InstancesLocated,
    InstancesStored,
    ManifestEntry,
)
from imaging_common.objects.model import Manifest, StoredInstance
from object_writer.errors import LeaseLost
from object_writer.model import Name, series_id
from object_writer.ports import DueSeries, PackRecord, Pending, Policy


@dataclass(slots=True)
class _Instance:
    series: str
    name: Name
    size: int
    batches: set[str] = field(default_factory=set)
    pack: str | None = None
    located_in: str | None = None
    located_at: datetime | None = None
    lost: bool = False
    has_edge: bool = False
    received_at: datetime | None = None


@dataclass(slots=True)
class _Pack:
    manifest: Manifest
    series: str
    noted_at: datetime
    located: bool = False
    replaced_at: datetime | None = None
    replaced_by: str | None = None
    gone: bool = False
    closed: bool = False
    purged_at: datetime | None = None


@dataclass(slots=True)
class _Batch:
    manifest: Manifest
    noted_at: datetime
    purged_at: datetime | None = None


@dataclass(slots=True)
class _Series:
    last_received_at: datetime
    leased: bool = False
    failures: int = 0


class FakeLedger:
    """One process, no transactions; the rules are those of `MongoLedger`."""

    def __init__(self) -> None:
        self.published: list[tuple[str, Event]] = []
        self.instances: dict[tuple[str, Name], _Instance] = {}
        self.series: dict[str, _Series] = {}
        self.batches: dict[str, _Batch] = {}
        self.packs: dict[str, _Pack] = {}
        self.registered: dict[str, HospitalRegistered] = {}
        self.lose_lease = False

    async def note_batch(self, manifest: Manifest, manifest_key: str) -> None:
        """See `Ledger.note_batch`."""
        study = f"{manifest.hospital}/{manifest.study_uid}"
        known = [self.instances.get((study, _name(i))) for i in manifest.instances]
        self._receipt(manifest, [k for k in known if k and k.located_in and manifest.has_edge])
        if manifest_key in self.batches:
            return
        self.batches[manifest_key] = _Batch(manifest, datetime.now(UTC))
        for one in manifest.instances:
            series = series_id(manifest.hospital, manifest.study_uid, one.series_uid)
            new = _Instance(series, _name(one), one.length)
            instance = self.instances.setdefault((study, _name(one)), new)
            instance.batches.add(manifest_key)
            instance.lost = False
            instance.received_at = datetime.now(UTC)
            instance.has_edge |= manifest.has_edge
            self.series.setdefault(series, _Series(datetime.now(UTC))).last_received_at = datetime.now(UTC)

    async def known_batches(self, manifest_keys: Collection[str]) -> set[str]:
        """See `Ledger.known_batches`."""
        return set(manifest_keys) & self.batches.keys()

    async def take_series(self, quiet_before: datetime, bytes_limit: int) -> DueSeries | None:
        """See `Ledger.take_series`."""
        for key, series in sorted(self.series.items(), key=lambda item: item[1].last_received_at):
            waiting = sum(i.size for i in self._waiting(key))
            due = series.last_received_at <= quiet_before or waiting >= bytes_limit
            if waiting and due and not series.leased and not series.failures:
                series.leased = True
                return DueSeries(key, None)
        return None

    async def renew(self, series_id: str) -> None:
        """See `Ledger.renew`."""
        if self.lose_lease or not self.series[series_id].leased:
            raise LeaseLost("another copy works on the series")

    async def release_series(self, series_id: str, *, failed: bool) -> None:
        """See `Ledger.release_series`."""
        self.series[series_id].leased = False
        self.series[series_id].failures += failed

    async def pending(self, series_id: str) -> Pending:
        """See `Ledger.pending`."""
        waiting = self._waiting(series_id)
        return Pending({i.name for i in waiting}, sorted(set[str]().union(*(i.batches for i in waiting))))

    async def packs_of(self, series_id: str) -> list[PackRecord]:
        """See `Ledger.packs_of`."""
        return [
            PackRecord(
                key,
                sum(i.original_length for i in pack.manifest.instances),
                {i.name for i in self.instances.values() if i.pack == key},
                closed=pack.closed,
            )
            for key, pack in self.packs.items()
            if pack.series == series_id and not pack.gone and pack.replaced_at is None and pack.purged_at is None
        ]

    async def known_packs(self, manifest_keys: Collection[str]) -> set[str]:
        """See `Ledger.known_packs`."""
        return set(manifest_keys) & self.packs.keys()

    async def note_pack(self, manifest: Manifest, manifest_key: str) -> None:
        """See `Ledger.note_pack`."""
        await self.renew(series_id(manifest.hospital, manifest.study_uid, manifest.instances[0].series_uid))
        self._note_pack(manifest, manifest_key, adopted=False)

    async def adopt_pack(self, manifest: Manifest, manifest_key: str) -> None:
        """See `Ledger.adopt_pack`."""
        self._note_pack(manifest, manifest_key, adopted=True)

    def _note_pack(self, manifest: Manifest, key: str, *, adopted: bool) -> None:
        study = f"{manifest.hospital}/{manifest.study_uid}"
        series = f"{study}/{manifest.instances[0].series_uid}"
        known = self.packs.get(key)
        if known is None or known.gone or known.purged_at is not None:
            self.packs[key] = _Pack(manifest, series, datetime.now(UTC))
        for one in manifest.instances:
            new = _Instance(series, _name(one), one.original_length)
            instance = self.instances.setdefault((study, _name(one)), new)
            if instance.pack is None or not adopted:
                instance.pack, instance.lost = key, False
        for old in manifest.replaces:
            if old in self.packs and self.packs[old].replaced_at is None:
                self.packs[old].replaced_at, self.packs[old].replaced_by = datetime.now(UTC), key
        self._stored(key)

    async def note_damaged(self, series_id: str, name: Name, manifest_key: str) -> bool:
        """See `Ledger.note_damaged`."""
        instance = self.instances[series_id.rsplit("/", 1)[0], name]
        instance.batches.discard(manifest_key)
        instance.pack = None if instance.pack == manifest_key else instance.pack
        instance.lost = instance.pack is None and not instance.batches
        return instance.lost

    async def packs_of_study(self, study_id: str) -> list[str]:
        """See `Ledger.packs_of_study`."""
        mine = {key: pack for key, pack in self.packs.items() if pack.series.startswith(f"{study_id}/")}
        return [key for key, pack in mine.items() if not pack.gone and pack.purged_at is None]

    async def batches_of_study(self, study_id: str) -> list[str]:
        """See `Ledger.batches_of_study`."""
        return [k for k, b in self.batches.items() if k.startswith(f"{study_id}/") and b.purged_at is None]

    async def note_pack_lost(self, manifest_key: str) -> None:
        """See `Ledger.note_pack_lost`."""
        pack = self.packs.get(manifest_key)
        if pack is None or pack.gone:
            return
        pack.gone = True
        for instance in self.instances.values():
            if instance.pack == manifest_key:
                instance.pack = instance.located_in = instance.located_at = None
                instance.lost = not instance.batches

    async def note_located(self, event: InstancesLocated) -> None:
        """See `Ledger.note_located`."""
        study = f"{event.hospital}/{event.study_uid}"
        names = [(entry.sop_instance_uid, entry.sha256) for entry in event.instances]
        known = [self.instances[study, name] for name in names if (study, name) in self.instances]
        fresh = [instance for instance in known if instance.located_in is None]
        for instance in known:
            instance.located_in, instance.located_at = event.manifest_key, datetime.now(UTC)
        if pack := self.packs.get(event.manifest_key):
            members = [i for i in self.instances.values() if i.pack == event.manifest_key]
            pack.located = all(i.located_in == event.manifest_key for i in members)
            self._receipt(pack.manifest, [instance for instance in fresh if instance.has_edge])

    async def remind(self, noted_before: datetime) -> int:
        """See `Ledger.remind`."""
        forgotten = [
            key
            for key, pack in self.packs.items()
            if not pack.located
            and not pack.gone
            and pack.replaced_at is None
            and pack.purged_at is None
            and pack.noted_at < noted_before
        ]
        for key in forgotten:
            self.packs[key].noted_at = datetime.now(UTC)
            self._stored(key)
        return len(forgotten)

    async def removable_batches(self, located_before: datetime) -> list[str]:
        """See `Ledger.removable_batches`."""
        return [
            key
            for key, batch in self.batches.items()
            if batch.purged_at is None and self._is_done(batch.manifest, located_before)
        ]

    def _is_done(self, batch: Manifest, before: datetime) -> bool:
        study = f"{batch.hospital}/{batch.study_uid}"
        known = [self.instances.get((study, _name(one))) for one in batch.instances]
        times = [instance.located_at if instance else None for instance in known]
        return all(at is not None and at <= before for at in times)

    async def removable_packs(self, located_before: datetime) -> list[str]:
        """See `Ledger.removable_packs`."""
        return [
            key
            for key, pack in self.packs.items()
            if pack.replaced_at is not None
            and not pack.gone
            and pack.purged_at is None
            and pack.replaced_at <= located_before
            and not any(
                i.located_in == key
                or (i.series == pack.series and i.pack is not None and i.located_in != i.pack)
                or (i.series == pack.series and i.located_at is not None and i.located_at > located_before)
                for i in self.instances.values()
            )
        ]

    async def forget(self, manifest_key: str) -> None:
        """See `Ledger.forget`."""
        self.batches.pop(manifest_key, None)
        if manifest_key in self.packs:
            self.packs[manifest_key].gone = True

    async def keep_policy(self, event: HospitalRegistered) -> None:
        """See `Ledger.keep_policy`."""
        known = self.registered.get(event.hospital)
        if known is None or known.revision <= event.revision:
            self.registered[event.hospital] = event

    async def policies(self) -> dict[str, Policy]:
        """See `Ledger.policies`."""
        return {
            hospital: Policy(e.tier, e.compression, e.cache_weight, e.retention_days, e.legal_hold)
            for hospital, e in self.registered.items()
        }

    def _waiting(self, series: str) -> list[_Instance]:
        return [i for i in self.instances.values() if i.series == series and i.pack is None and not i.lost]

    def _stored(self, key: str) -> None:
        manifest = self.packs[key].manifest
        event = InstancesStored(
            hospital=manifest.hospital,
            study_uid=manifest.study_uid,
            series_uid=manifest.instances[0].series_uid,
            pack_id=manifest.id,
            manifest_key=key,
            instance_count=len(manifest.instances),
        )
        self.published.append(("instances-stored", event))

    def _receipt(self, manifest: Manifest, instances: list[_Instance]) -> None:
        if instances:
            entries = [ManifestEntry(sop_instance_uid=i.name[0], sha256=i.name[1]) for i in instances]
            event = BatchStored(hospital=manifest.hospital, study_uid=manifest.study_uid, instances=entries)
            self.published.append((f"edge-commands-{manifest.hospital}", event))


def _name(instance: StoredInstance) -> Name:
    return (instance.sop_instance_uid, instance.sha256)
