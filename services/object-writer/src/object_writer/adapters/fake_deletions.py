"""`Deletions` in memory, for unit tests; works on the `FakeLedger` beside it."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from imaging_common.events import InstancesEvicted, StudyDeletionRequested, StudyHeld, StudyRestored
from object_writer.adapters.fake_ledger import FakeLedger
from object_writer.ports.deletions import Purged


@dataclass(slots=True)
class _Order:
    revision: int = 0
    deleted: bool = False
    purge_after: datetime | None = None
    ordered_at: datetime | None = None
    purged: bool = False
    finished: bool = False
    hold_revision: int = 0
    held: bool = False


class FakeDeletions:
    """One process, no transactions; the rules are those of `MongoDeletions`."""

    def __init__(self, ledger: FakeLedger) -> None:
        self.ledger = ledger
        self.orders: dict[str, _Order] = {}

    def is_held(self, study_id: str) -> bool:
        """Whether the study or its hospital is held."""
        hospital = self.ledger.registered.get(study_id.split("/")[0])
        order = self.orders.get(study_id)
        return bool((hospital and hospital.legal_hold) or (order and order.held))

    async def order_deletion(self, event: StudyDeletionRequested) -> None:
        """See `Deletions.order_deletion`."""
        study_id = f"{event.holder}/{event.study_uid}"
        order = self.orders.setdefault(study_id, _Order())
        if event.revision > order.revision:
            order.revision, order.deleted, order.purge_after = event.revision, True, event.purge_after
            order.ordered_at, order.purged, order.finished = datetime.now(UTC), False, False
            for pack in self.ledger.packs.values():
                pack.closed |= pack.series.startswith(f"{study_id}/")

    async def order_restoration(self, event: StudyRestored) -> None:
        """See `Deletions.order_restoration`."""
        order = self.orders.setdefault(f"{event.holder}/{event.study_uid}", _Order())
        if event.revision > order.revision:
            order.revision, order.deleted = event.revision, False

    async def order_hold(self, event: StudyHeld) -> None:
        """See `Deletions.order_hold`."""
        order = self.orders.setdefault(f"{event.holder}/{event.study_uid}", _Order())
        if event.revision > order.hold_revision:
            order.hold_revision, order.held = event.revision, event.held

    async def due(self, limit: int) -> list[str]:
        """See `Deletions.due`."""
        return [study_id for study_id, order in self.orders.items() if self._is_due(study_id, order)][:limit]

    def _is_due(self, study_id: str, order: _Order) -> bool:
        over = order.purge_after is not None and order.purge_after <= datetime.now(UTC)
        return order.deleted and over and not order.finished and not self.is_held(study_id)

    async def purge(self, study_id: str) -> bool:
        """See `Deletions.purge`."""
        order, ledger, below = self.orders[study_id], self.ledger, f"{study_id}/"
        if not self._is_due(study_id, order) or order.ordered_at is None:
            return False
        if order.purged:
            return True
        if any(series.leased for key, series in ledger.series.items() if key.startswith(below)):
            return False
        ordered_at = order.ordered_at
        mine = {key: i for key, i in ledger.instances.items() if key[0] == study_id}
        fresh = {key for key, i in mine.items() if i.received_at is not None and i.received_at > ordered_at}
        kept = {mine[key].pack for key in fresh}
        current = {k: p for k, p in ledger.packs.items() if p.series.startswith(below) and not p.gone}
        packs = [key for key in current if self._last(key) not in kept]
        batches = [k for k, b in ledger.batches.items() if k.startswith(below) and b.noted_at <= ordered_at]
        for key in packs:
            ledger.packs[key].purged_at = datetime.now(UTC)
        for key in batches:
            ledger.batches[key].purged_at = datetime.now(UTC)
        for name, instance in mine.items():
            instance.batches -= set(batches)
            if name not in fresh and (instance.pack is None or instance.pack in packs):
                del ledger.instances[name]
        self._tell(study_id, "archive", packs)
        self._tell(study_id, "staging", batches)
        order.purged = True
        return True

    def _last(self, key: str) -> str:
        while (newer := self.ledger.packs[key].replaced_by) is not None:
            key = newer
        return key

    def _tell(self, study_id: str, bucket: Literal["archive", "staging"], keys: list[str]) -> None:
        if keys:
            hospital, study_uid = study_id.split("/")
            event = InstancesEvicted(hospital=hospital, study_uid=study_uid, bucket=bucket, manifest_keys=sorted(keys))
            self.ledger.published.append(("instances-stored", event))

    async def finish(self, study_id: str) -> None:
        """See `Deletions.finish`."""
        self.orders[study_id].finished = self.orders[study_id].purged

    async def purged(self, limit: int) -> list[Purged]:
        """See `Deletions.purged`."""
        batches = [Purged("staging", k, b.purged_at) for k, b in self.ledger.batches.items() if b.purged_at]
        packs = [Purged("archive", k, p.purged_at) for k, p in self.ledger.packs.items() if p.purged_at and not p.gone]
        return [*batches[:limit], *packs[:limit]]

    async def spare(self, purged: Purged) -> None:
        """See `Deletions.spare`."""
        where = self.ledger.batches if purged.bucket == "staging" else self.ledger.packs
        where.pop(purged.manifest_key, None)
