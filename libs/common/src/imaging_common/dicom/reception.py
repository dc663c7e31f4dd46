"""The DIMSE side of a hardened association (PS3.7): bounds what a peer can queue, streams data sets into sinks."""

import logging
import queue
from collections.abc import Callable
from io import BytesIO
from typing import Any

from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import C_STORE_RQ, DIMSEMessage
from pynetdicom.pdu_primitives import P_DATA

from imaging_common.dicom.sinks import DataSink, StoreRequest

_log = logging.getLogger(__name__)
MAX_COMMAND_BYTES = 64 << 10
MAX_IDENTIFIER_BYTES = 1 << 20
MAX_WAITING_MESSAGES = 16
SinkFactory = Callable[[StoreRequest], DataSink]


class WakingQueue(queue.Queue[Any]):
    """A queue that calls `wake` after each item."""

    def __init__(self, wake: Callable[[], None]) -> None:
        super().__init__()
        self._wake = wake

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Put and wake."""
        super().put(item, block, timeout)
        self._wake()


class Inbox(BytesIO):
    """Stands where pynetdicom keeps a data set in memory, and passes a C-STORE's fragments on to its sink."""

    def __init__(self, dimse: "ReceptionDimse", message: DIMSEMessage) -> None:
        super().__init__()
        self._dimse = dimse
        self._message = message
        self.sink: DataSink | None = None

    def write(self, fragment: Any) -> int:
        """Take a fragment."""
        if isinstance(self._message, C_STORE_RQ):
            if self.sink is None:
                self.sink = self._dimse.open_sink_of(self._message)
            self.sink.write(fragment)
            return len(fragment)
        if self.tell() + len(fragment) > MAX_IDENTIFIER_BYTES:
            raise ValueError("an identifier is over the cap")
        return super().write(fragment)


class ReceptionDimse(DIMSEServiceProvider):  # type: ignore[misc]
    """Decodes messages within bounds; a breach aborts the association and nothing else."""

    message: Any
    max_waiting = MAX_WAITING_MESSAGES
    """A requestor's association takes more: the answers to one C-FIND come faster than they are read."""

    def __init__(self, assoc: Association, open_sink: SinkFactory, tick: float) -> None:
        super().__init__(assoc)
        self._open_sink = open_sink
        self._tick = tick
        self._unfinished: set[DataSink] = set()

    def open_sink_of(self, message: DIMSEMessage) -> DataSink:
        """The sink for a C-STORE whose command set is complete."""
        command = message.command_set
        # pynetdicom sets the context's id once the command set is complete
        context = self.assoc._accepted_cx[message.context_id]
        requestor = self.assoc.requestor
        sink = self._open_sink(
            StoreRequest(
                sop_class_uid=str(command.get("AffectedSOPClassUID", "")),
                sop_instance_uid=str(command.get("AffectedSOPInstanceUID", "")),
                transfer_syntax_uid=str(context.transfer_syntax[0]),
                calling_ae=str(requestor.ae_title).strip(),
                address=str(requestor.address),
            )
        )
        self._unfinished.add(sink)
        return sink

    def take(self, request: Any) -> DataSink | None:
        """The sink of a C-STORE request, from now on the caller's to settle or discard.

        None: no data set came, or the connection is gone and the data set with it.
        """
        sink: DataSink | None = getattr(request.DataSet, "sink", None)
        try:
            self._unfinished.remove(sink)  # type: ignore[arg-type]
        except KeyError:
            return None
        return sink

    def discard_unfinished(self) -> None:
        """The association is over: what no handler took is dropped."""
        while self._unfinished:
            self._unfinished.pop().discard()

    def wake(self) -> None:
        """End a wait in `get_msg`."""
        self.msg_queue.put((None, None))

    def get_msg(self, block: bool = False) -> Any:
        """The next message; waits a moment where pynetdicom would poll."""
        try:
            return self.msg_queue.get(timeout=self.dimse_timeout if block else self._tick)
        except queue.Empty:
            return None, None

    def receive_primitive(self, primitive: P_DATA) -> None:
        """Take the next P-DATA of a message."""
        try:
            if self.message is None:
                self.message = DIMSEMessage()
                self.message.data_set = Inbox(self, self.message)
            values = primitive.presentation_data_value_list
            command = sum(len(data) for _, data in values if data[0] & 1)
            if command + self.message.encoded_command_set.tell() > MAX_COMMAND_BYTES:
                raise ValueError("a command set is over the cap")
            if self.msg_queue.qsize() > self.max_waiting:
                raise ValueError("too many messages wait for an answer")
            super().receive_primitive(primitive)
        except Exception as error:
            # Whatever a peer sends may cost its association, never the reactor (PS3.8 §9.2: Evt19 aborts)
            _log.warning("association aborted: invalid message (%s)", type(error).__name__)
            self.message = None
            self.dul.event_queue.put("Evt19")
