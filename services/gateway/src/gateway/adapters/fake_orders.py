"""`OrderBook` and `CommandBook` in memory."""

from datetime import datetime

from gateway.model import Order, StudyCommands
from imaging_common.events import AuditRecorded


class FakeOrders:
    """Orders by id; `told` is what the edge agents were told."""

    def __init__(self) -> None:
        self.orders: dict[str, Order] = {}
        self.told: list[tuple[str, str, str]] = []
        self.audited: list[AuditRecorded] = []

    async def place(self, order: Order, record: AuditRecorded) -> None:
        """See `OrderBook.place`."""
        if order.order.order_id not in self.orders:
            self.orders[order.order.order_id] = order
            self.told.append((order.hospital, "placed", order.order.order_id))
            self.audited.append(record)

    async def cancel(self, hospital: str, order_id: str, record: AuditRecorded) -> Order | None:
        """See `OrderBook.cancel`."""
        found = self.orders.get(order_id)
        if found is None or found.hospital != hospital or found.cancelled:
            return None
        self.orders[order_id] = found.model_copy(update={"cancelled": True})
        self.told.append((hospital, "cancelled", order_id))
        self.audited.append(record.model_copy(update={"study_uid": found.order.study_uid}))
        return found

    async def open_orders(self, hospital: str, limit: int) -> list[Order]:
        """See `OrderBook.open_orders`."""
        mine = [order for order in self.orders.values() if order.hospital == hospital and not order.cancelled]
        return sorted(mine, key=lambda order: order.order.scheduled_at)[:limit]


class FakeCommands:
    """Commands by (holder, study)."""

    def __init__(self) -> None:
        self.commands: dict[tuple[str, str], StudyCommands] = {}
        self.audited: list[AuditRecorded] = []

    async def of(self, holder: str, study_uid: str) -> StudyCommands:
        """See `CommandBook.of`."""
        return self.commands.get((holder, study_uid), StudyCommands(holder=holder, study_uid=study_uid))

    async def delete(
        self, commands: StudyCommands, *, reason: str, user: str, purge_after: datetime, record: AuditRecorded
    ) -> bool:
        """See `CommandBook.delete`."""
        return self._put(commands, record, deleted=True, purge_after=purge_after)

    async def restore(self, commands: StudyCommands, *, user: str, record: AuditRecorded) -> bool:
        """See `CommandBook.restore`."""
        return self._put(commands, record, deleted=False, purge_after=None)

    async def hold(self, commands: StudyCommands, *, held: bool, user: str, record: AuditRecorded) -> bool:
        """See `CommandBook.hold`."""
        return self._put(commands, record, held=held)

    async def deleted(self, holder: str | None, limit: int) -> list[StudyCommands]:
        """See `CommandBook.deleted`."""
        return [one for one in self.commands.values() if one.deleted and holder in (None, one.holder)][:limit]

    def _put(self, commands: StudyCommands, record: AuditRecorded, **changes: object) -> bool:
        key = (commands.holder, commands.study_uid)
        known = self.commands.get(key)
        if (known.revision if known else 0) != commands.revision:
            return False
        self.commands[key] = commands.model_copy(update={"revision": commands.revision + 1, **changes})
        self.audited.append(record)
        return True
