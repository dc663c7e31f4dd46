"""The hospital's imaging orders, durable: OrderPlaced and OrderCancelled enter, the worklist's entries leave.

An order's highest revision counts, in whatever order the statements come; a cancellation is remembered, so that a late
OrderPlaced does not bring the order back.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from edge_agent.adapters.database import Database
from imaging_common.events import OrderPlaced

KEPT = timedelta(days=1)
"""How long after its scheduled time an order stays in the worklist."""
REMEMBERED = timedelta(days=30)
"""How long a cancellation and an order that left are remembered."""


class OrderJournal:
    """Orders in the agent's database. All methods block; `put` and `cancel` are durable on return.

    Parameters
    ----------
    now
        The hospital's local time, without a zone.
    """

    def __init__(self, database: Database, now: Callable[[], datetime] = datetime.now) -> None:
        self._database = database
        self._now = now
        database.create("schema_orders.sql")

    def put(self, order: OrderPlaced) -> bool:
        """Place or change an order; False: a revision as high is known already."""
        leaves = (order.scheduled_at.replace(tzinfo=None) + KEPT).isoformat()
        return self._state(order.order_id, order.revision, order.study_uid, leaves, order.model_dump_json())

    def cancel(self, order_id: str, revision: int) -> bool:
        """Take an order back; False: a revision as high is known already."""
        return self._state(order_id, revision, "", (self._now() + KEPT).isoformat(), None)

    def open_orders(self) -> list[OrderPlaced]:
        """The worklist in order of the scheduled time: what was not cancelled, is not older than a day, and has no
        announced study of its Study Instance UID yet."""
        rows = self._database.rows(
            "SELECT document FROM orders WHERE document IS NOT NULL AND leaves_at > ? AND NOT EXISTS"
            " (SELECT 1 FROM studies WHERE studies.study_uid = orders.study_uid AND announcement > 0)",
            (self._now().isoformat(),),
        )
        orders = [OrderPlaced.model_validate_json(str(document)) for (document,) in rows]
        return sorted(orders, key=lambda order: (order.scheduled_at.replace(tzinfo=None), order.order_id))

    def _state(self, order_id: str, revision: int, study_uid: str, leaves_at: str, document: str | None) -> bool:
        with self._database.transaction() as db:
            db.execute("DELETE FROM orders WHERE leaves_at < ?", ((self._now() - REMEMBERED).isoformat(),))
            written = db.execute(
                "INSERT INTO orders VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET revision = excluded.revision,"
                " study_uid = excluded.study_uid, leaves_at = excluded.leaves_at, document = excluded.document"
                " WHERE excluded.revision > orders.revision",
                (order_id, revision, study_uid, leaves_at, document),
            )
            return bool(written.rowcount)
