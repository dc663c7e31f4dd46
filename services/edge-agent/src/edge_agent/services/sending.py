"""C-STORE sub-operations (PS3.4 C.4.2, C.4.3): over an association to a workstation, or where it asked. Blocking."""

import contextlib
import queue
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom.uid import UID
from pynetdicom import _config, build_context
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext

from edge_agent.adapters.pacs_retrieve.association import close_association, is_open, open_association
from edge_agent.errors import PacsRefused, PacsUnreachable
from edge_agent.services.objects import NATIVE, NotConvertible, convert_file, meta_of
from imaging_common.telemetry import get_logger

_log = get_logger(__name__)
MAX_CONTEXTS = 128
QUEUED_PDUS = 32
STALLED_SECONDS = 60.0
FAILED = 0xC000
Pair = tuple[str, str]
"""(SOP class, transfer syntax)."""


class Throttle(queue.Queue[Any]):
    """The queue of what an association has to send, bounded: a large object waits on disk, not in memory."""

    def __init__(self, wake: Callable[[], None]) -> None:
        super().__init__(QUEUED_PDUS)
        self._wake = wake

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Put and wake; `queue.Full` when the peer takes nothing for a minute."""
        super().put(item, block, timeout or STALLED_SECONDS)
        self._wake()


def throttle(association: Association, wake: Callable[[], None] = lambda: None) -> None:
    """Bound an idle association's queue."""
    if not isinstance(association.dul.to_provider_queue, Throttle) and association.dul.to_provider_queue.empty():
        association.dul.to_provider_queue = Throttle(wake)


@dataclass(frozen=True, slots=True)
class Origin:
    """Who asked, by which message (PS3.7 §9.1.1.1): set for a C-MOVE only."""

    ae_title: str
    message_id: int


def send(association: Association, path: Path, message_id: int, origin: Origin | None = None) -> int:
    """Send a file in a transfer syntax that the peer accepted; its status, or 0xC000 when it could not be sent."""
    try:
        sop_class, _, _ = meta_of(path)
        accepted = [
            str(context.transfer_syntax[0])
            for context in association.accepted_contexts
            if context.abstract_syntax == sop_class and context.as_scu
        ]
        converted = convert_file(path, accepted)
    except NotConvertible as error:
        _log.warning("sub-operation-failed", reason=str(error))
        return FAILED
    _config.STORE_SEND_CHUNKED_DATASET = True
    try:
        answer = association.send_c_store(
            converted,
            msg_id=message_id,
            originator_aet=origin.ae_title if origin else None,
            originator_id=origin.message_id if origin else None,
        )
    except (RuntimeError, ValueError, AttributeError, OSError, queue.Full) as error:
        _log.warning("sub-operation-failed", reason=type(error).__name__)
        if isinstance(error, queue.Full):
            association.abort()
        return FAILED
    finally:
        if converted != path:
            converted.unlink(missing_ok=True)
    return int(answer.Status) if "Status" in answer else FAILED


class Destination:
    """A workstation that a C-MOVE sends to: connected when there is something to send, and again when that broke."""

    def __init__(self, ae_title: str, peer: tuple[str, str, int], expected: Iterable[Pair]) -> None:
        self._ae_title = ae_title
        self._peer = peer
        self._pairs = set(expected)
        self._association: Association | None = None
        self._failures = 0

    def send(self, path: Path, message_id: int, origin: Origin) -> int:
        """See `send`."""
        sop_class, _, syntax = meta_of(path)
        association = self._connected((sop_class, syntax))
        return FAILED if association is None else send(association, path, message_id, origin)

    def close(self) -> None:
        """Release the association."""
        if self._association is not None:
            with contextlib.suppress(Exception):
                close_association(self._association)
        self._association = None

    def _connected(self, pair: Pair) -> Association | None:
        if pair not in self._pairs:
            self._pairs.add(pair)
            self.close()
        if self._association is not None and is_open(self._association):
            return self._association
        self.close()
        if self._failures >= 2:
            return None
        ae_title, host, port = self._peer
        contexts = contexts_for(self._pairs)
        try:
            association = open_association(
                self._ae_title, ae_title, (host, port), contexts, timeout_seconds=STALLED_SECONDS
            )
        except (PacsUnreachable, PacsRefused, OSError) as error:
            _log.warning("destination-unreachable", destination=ae_title, error=type(error).__name__)
            self._failures += 1
            return None
        throttle(association, association.dul.socket.wake)
        self._failures = 0
        self._association = association
        return association


def contexts_for(pairs: Iterable[Pair]) -> list[PresentationContext]:
    """What is proposed: each transfer syntax as stored, and native ones for every SOP class."""
    known = sorted((sop_class, syntax) for sop_class, syntax in pairs if sop_class)
    stored = [build_context(sop_class, syntax) for sop_class, syntax in known if syntax and syntax not in NATIVE[:2]]
    native = [
        build_context(sop_class, [UID(syntax)])
        for sop_class in sorted({sop_class for sop_class, _ in known})
        for syntax in NATIVE[:2]
    ]
    return [*native, *stored][:MAX_CONTEXTS]
