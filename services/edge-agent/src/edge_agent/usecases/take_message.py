"""An HL7 v2 message enters, its acknowledgement leaves: a report or order is durable before AA is said."""

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime

from edge_agent.errors import SpoolUnusable
from edge_agent.ports import MessageLog, Orders
from imaging_common.errors import RejectedError
from imaging_common.events import OrderPlaced
from imaging_common.reports import UnreadableMessage
from imaging_common.reports.hl7v2 import MEDIA_TYPE, Message, acknowledgement, read_message
from imaging_common.reports.orm import read_orders
from imaging_common.reports.oru import read_reports
from imaging_common.telemetry import get_logger

_log = get_logger(__name__)


class TakeMessage:
    """ORU^R01 brings reports, ORM^O01 orders; the same bytes again have one effect and are acknowledged again.

    Parameters
    ----------
    notify
        Called when there is a report to send; from any thread.
    """

    def __init__(self, hospital: str, log: MessageLog, orders: Orders | None, notify: Callable[[], None]) -> None:
        self._hospital = hospital
        self._messages = log
        self._orders = orders
        self._notify = notify

    def __call__(self, data: bytes) -> bytes:
        """Take one message; the acknowledgement: AA, or AE or AR with a text that names no patient. Blocking."""
        message = None
        try:
            message = read_message(data)
            if message.kind == "ORM^O01":
                self._take_orders(message, data)
            else:
                read_reports(message)
                if self._messages.keep(data, message.control_id, media_type(message)):
                    self._notify()
        except UnreadableMessage as error:
            return self._refuse(data, message, error.code, error.reason, error.text)
        except RejectedError as error:
            return self._refuse(data, message, "AE", "rejected", str(error))
        except (SpoolUnusable, OSError, sqlite3.Error) as error:
            _log.error("message-not-kept", error=type(error).__name__)
            return self._refuse(data, message, "AE", "disk", "the edge agent cannot store it now; send it again later")
        return acknowledgement(data, "AA", message=message)

    def _take_orders(self, message: Message, data: bytes) -> None:
        if self._orders is None:
            raise UnreadableMessage("message-type", "orders are not taken here", "AR")
        orders = read_orders(self._hospital, message, 1, datetime.now(UTC))
        number = self._messages.note(data, message.control_id, media_type(message))
        for order in orders:
            if isinstance(order, OrderPlaced):
                self._orders.put(order.model_copy(update={"revision": number}))
            else:
                self._orders.cancel(order.order_id, number)

    def _refuse(self, data: bytes, message: Message | None, code: str, reason: str, text: str) -> bytes:
        _log.warning("message-refused", reason=reason, code=code)
        try:
            self._messages.count_refusal(reason)
        except (OSError, sqlite3.Error) as error:
            _log.error("refusal-not-counted", error=type(error).__name__)
        return acknowledgement(data, code, text, message)


def media_type(message: Message) -> str:
    """The Content-Type of a message's bytes."""
    return f"{MEDIA_TYPE}; charset={message.charset}"
