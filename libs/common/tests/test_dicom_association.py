"""The association server under attack and in use: caps, deadlines, streaming, and that others still get in."""

import resource
import socket
import struct
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu import P_DATA_TF
from pynetdicom.sop_class import CTImageStorage, Verification

from imaging_common.dicom import transport
from imaging_common.dicom.association import HardenedServer, listen, make_ae
from imaging_common.dicom.contexts import supported_contexts, transfer_syntaxes
from imaging_common.dicom.sinks import PartTenSink, StoreRequest

CT = Path(pydicom.__file__).parent / "data/test_files/CT_small.dcm"


class Acceptor:
    """A server in this process that keeps what it received in a folder."""

    def __init__(self, folder: Path, allow: Callable[[str, str], bool] = lambda *_: True, room: int = 1 << 30) -> None:
        self.folder = folder
        self.room = room
        self.sinks: list[PartTenSink] = []
        self.received: list[bytes] = []
        self.listener = listen("127.0.0.1", 0)
        self.port = self.listener.getsockname()[1]
        self.server = HardenedServer(
            make_ae("ACCEPTOR"), self.listener, allow, self._open, [(evt.EVT_C_STORE, self._store)]
        )
        self.server.start()

    def _open(self, request: StoreRequest) -> PartTenSink:
        self.sinks.append(PartTenSink(self.folder, request, self._reserve, self._release))
        return self.sinks[-1]

    def _reserve(self, size: int) -> bool:
        if size > self.room:
            return False
        self.room -= size
        return True

    def _release(self, size: int) -> None:
        self.room += size

    def _store(self, event: Any) -> int:
        sink = event.assoc.dimse.take(event.request)
        if sink.refused:
            return 0xA700
        self.received.append(sink.path.read_bytes())
        sink.discard()
        return 0x0000

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=15)

    def echo(self) -> bool:
        ae = AE()
        ae.add_requested_context(Verification)
        association = ae.associate("127.0.0.1", self.port)
        answered = bool(association.is_established and association.send_c_echo().get("Status") == 0)
        if association.is_established:
            association.release()
        return answered

    def close(self) -> None:
        self.server.stop_accepting()
        until(lambda: not self.server.active_associations)


def until(condition: Callable[[], Any], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


@pytest.fixture
def acceptor(tmp_path: Path) -> Iterator[Acceptor]:
    one = Acceptor(tmp_path)
    yield one
    one.close()


def store(acceptor: Acceptor, *syntaxes: str) -> int:
    ae = AE("SENDER")
    ae.add_requested_context(CTImageStorage, list(syntaxes) or [ExplicitVRLittleEndian])
    association = ae.associate("127.0.0.1", acceptor.port)
    assert association.is_established
    status = association.send_c_store(pydicom.dcmread(CT))
    association.release()
    return int(status.Status)


def test_data_set_streams_into_a_part_10_file(acceptor: Acceptor) -> None:
    assert store(acceptor) == 0
    (data,) = acceptor.received
    dataset = pydicom.dcmread(pydicom.filebase.DicomBytesIO(data))
    assert dataset.PixelData == pydicom.dcmread(CT).PixelData
    assert dataset.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert list(acceptor.folder.iterdir()) == []
    assert acceptor.room == 1 << 30


def test_same_bytes_arrive_when_another_sends_the_same(acceptor: Acceptor) -> None:
    store(acceptor)
    store(acceptor)
    assert acceptor.received[0] == acceptor.received[1]


def test_explicit_vr_is_taken_when_implicit_is_proposed_first(acceptor: Acceptor) -> None:
    ae = AE()
    ae.add_requested_context(CTImageStorage, [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
    association = ae.associate("127.0.0.1", acceptor.port)
    assert association.accepted_contexts[0].transfer_syntax == [ExplicitVRLittleEndian]
    association.release()


def test_offers_all_storage_but_nothing_that_inflates() -> None:
    syntaxes = transfer_syntaxes()
    assert syntaxes[0] == ExplicitVRLittleEndian
    assert "1.2.840.10008.1.2.1.99" not in syntaxes
    assert {"1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.5"} <= set(syntaxes)
    assert len(supported_contexts()) > 150
    store_classes = {str(context.abstract_syntax) for context in supported_contexts()}
    assert "1.2.840.10008.5.1.4.1.1.104.1" in store_classes


def test_instance_is_refused_and_nothing_kept_when_there_is_no_room(tmp_path: Path) -> None:
    acceptor = Acceptor(tmp_path, room=10_000)
    assert store(acceptor) == 0xA700
    assert list(tmp_path.iterdir()) == []
    assert acceptor.room == 10_000
    acceptor.close()


def test_half_an_instance_is_dropped_when_the_sender_goes_away(acceptor: Acceptor) -> None:
    ae = AE("SENDER")
    ae.add_requested_context(CTImageStorage, [ExplicitVRLittleEndian])
    association = ae.associate("127.0.0.1", acceptor.port)
    request = C_STORE()
    request.MessageID = 1
    request.AffectedSOPClassUID = CTImageStorage
    request.AffectedSOPInstanceUID = "1.2.3"
    request.Priority = 0
    request.DataSet = BytesIO(bytes(100_000))
    message = C_STORE_RQ()
    message.primitive_to_message(request)
    fragments = list(message.encode_msg(association.accepted_contexts[0].context_id, 4096))
    for fragment in fragments[:5]:
        pdu = P_DATA_TF()
        pdu.from_primitive(fragment)
        association.dul.socket.send(pdu.encode())
    until(lambda: acceptor.sinks and acceptor.sinks[0].length > 8000)
    assert len(list(acceptor.folder.iterdir())) == 1
    connection = association.dul.socket.socket
    connection.shutdown(socket.SHUT_RDWR)
    until(lambda: not list(acceptor.folder.iterdir()))
    until(lambda: acceptor.room == 1 << 30)
    association.abort()
    connection.close()
    assert acceptor.received == []
    assert acceptor.echo()


def test_giant_pdu_is_refused_before_it_is_read(acceptor: Acceptor) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with acceptor.connect() as peer:
        peer.sendall(struct.pack(">BBL", 1, 0, 0x7FFFFFFF))
        with pytest.raises(ConnectionError):
            peer.sendall(bytes(400 << 20))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000
    assert acceptor.echo()


def test_others_get_in_while_silent_and_stalled_peers_wait(acceptor: Acceptor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "SOCKET_TIMEOUT_SECONDS", 0.5)
    acceptor.server.ae.acse_timeout = 1
    peers = [acceptor.connect() for _ in range(30)]
    for peer in peers[::2]:
        peer.sendall(struct.pack(">BBL", 1, 0, 200) + b"half a PDU")
    assert acceptor.echo()
    until(lambda: not acceptor.server.active_associations)
    for peer in peers:
        peer.close()


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        bytes(64),
        struct.pack(">BBL", 1, 0, 68) + bytes(68),
        struct.pack(">BBL", 4, 0, 10) + bytes(10),
        struct.pack(">BBL", 9, 0, 4) + bytes(4),
        struct.pack(">BBL", 1, 0, 200) + b"\0\1\0\0" + b"A" * 64 + b"\x10\0\xff\xff" + b"x" * 128,
    ],
)
def test_garbage_costs_only_its_connection(acceptor: Acceptor, data: bytes) -> None:
    with acceptor.connect() as peer:
        peer.sendall(data)
        peer.shutdown(socket.SHUT_WR)
        try:
            while peer.recv(4096):
                continue
        except ConnectionResetError:
            pass
    assert acceptor.echo()


@pytest.mark.parametrize(
    "values",
    [
        [(1, b"\x01" + bytes(70_000))],  # a command set without an end
        [(1, b"\x03" + b"\xff" * 50)],  # no command set
        [(1, b"\x03" + struct.pack("<HHLH", 0, 0x0100, 2, 0x7777))],  # an unknown command
        [(1, b"\x02" + b"data before a command")],
        [(99, b"\x03" + struct.pack("<HHLH", 0, 0x0100, 2, 0x0030))],
    ],
)
def test_invalid_message_aborts_only_its_association(acceptor: Acceptor, values: list[tuple[int, bytes]]) -> None:
    ae = AE("SENDER")
    ae.add_requested_context(Verification)
    association = ae.associate("127.0.0.1", acceptor.port)
    assert association.is_established
    items = b"".join(struct.pack(">LB", len(data) + 1, context) + data for context, data in values)
    association.dul.socket.send(struct.pack(">BBL", 4, 0, len(items)) + items)
    until(lambda: association.is_aborted or not association.is_established)
    assert acceptor.echo()


def test_caller_is_refused_by_address_and_by_title(tmp_path: Path) -> None:
    nobody = Acceptor(tmp_path, allow=lambda _, __: False)
    with nobody.connect() as peer:
        assert peer.recv(1) == b""
    nobody.close()
    titled = Acceptor(tmp_path, allow=lambda title, _: title in ("", "FRIEND"))
    for title, welcome in (("FRIEND", True), ("STRANGER", False)):
        ae = AE(title)
        ae.add_requested_context(Verification)
        association = ae.associate("127.0.0.1", titled.port)
        assert association.is_established is welcome
        assert association.is_rejected is not welcome
        if welcome:
            association.release()
    titled.close()


def test_uid_from_the_peer_never_names_a_file(acceptor: Acceptor) -> None:
    sink = PartTenSink(acceptor.folder, StoreRequest("1.2", "../../etc/x", "1.2.840.10008.1.2.1", "A", "127.0.0.1"))
    sink.write(b"data")
    assert sink.refused == "uid-malformed"
    assert list(acceptor.folder.iterdir()) == []
