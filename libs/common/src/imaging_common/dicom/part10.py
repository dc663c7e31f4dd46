"""The DICOM File Format around a data set (PS3.10 §7): preamble, prefix, File Meta Information; and how to write it."""

import struct
import zlib
from typing import NamedTuple

from pydicom.uid import UID

from imaging_common.dicom.errors import RejectedInstance
from imaging_common.dicom.scan import EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE, Buffer, Encoding
from imaging_common.ids import is_uid

INFLATE_LIMIT = 64 << 20
DEFLATED = "1.2.840.10008.1.2.1.99"
_IMPLICIT = "1.2.840.10008.1.2"
_BIG_ENDIAN = "1.2.840.10008.1.2.2"
_NATIVE = frozenset({_IMPLICIT, "1.2.840.10008.1.2.1", _BIG_ENDIAN, DEFLATED})
_WITHOUT_PIXELS = frozenset({"1.2.840.10008.1.2.4.94", "1.2.840.10008.1.2.4.95"})
_HEADER = struct.Struct("<HH2sH")
_LENGTH = struct.Struct("<L")
_LONG = (b"OB", b"OW", b"UN", b"UT", b"SQ", b"OF", b"UC", b"UR")
_MAX_META = 1 << 20
# The preamble may belong to a second format (PS3.10 §7.1): TIFF is meant, programs and pages are not.
_FOREIGN = (
    b"MZ",
    b"\x7fELF",
    b"#!",
    b"<",
    b"PK\x03\x04",
    b"%PDF",
    b"\xfe\xed\xfa",
    b"\xcf\xfa\xed\xfe",
    b"\xca\xfe\xba\xbe",
)
IMPLEMENTATION_CLASS_UID = "2.25.209874021183726540117430127683351482114"
IMPLEMENTATION_VERSION = "IMAGING_CLOUD"


class Meta(NamedTuple):
    """What the File Meta Information says, and where the data set starts."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    data_offset: int


def is_native(transfer_syntax_uid: str) -> bool:
    """Whether pixel data of this transfer syntax is not encapsulated (PS3.5 A.1 to A.3, A.5)."""
    return transfer_syntax_uid in _NATIVE


def carries_no_pixels(transfer_syntax_uid: str) -> bool:
    """Whether the pixels lie elsewhere: JPIP referenced (PS3.5 A.6)."""
    return transfer_syntax_uid in _WITHOUT_PIXELS


def encoding_of(transfer_syntax_uid: str) -> Encoding:
    """The encoding of the data set's elements."""
    if transfer_syntax_uid == _IMPLICIT:
        return IMPLICIT_LE
    return EXPLICIT_BE if transfer_syntax_uid == _BIG_ENDIAN else EXPLICIT_LE


def read_meta(data: Buffer) -> Meta:
    """Read preamble and File Meta Information, always Explicit VR Little Endian (PS3.10 §7.1).

    Raises
    ------
    RejectedInstance
        Not the DICOM File Format, a mandatory element is missing, or the transfer syntax is unknown.
    """
    if len(data) < 132 or bytes(data[128:132]) != b"DICM":
        raise RejectedInstance("not-dicom", "no DICOM prefix after the preamble")
    if bytes(data[:8]).lstrip().startswith(_FOREIGN):
        raise RejectedInstance("foreign-preamble", "the preamble belongs to a program, an archive or a page")
    values: dict[int, bytes] = {}
    pos, end = 132, len(data)
    while end - pos >= 8:
        group, number, vr, length = _HEADER.unpack_from(data, pos)
        if group != 2:
            break
        pos += 8
        if vr in _LONG:
            if end - pos < 4:
                raise RejectedInstance("truncated", "the File Meta Information ends early")
            (length,) = _LENGTH.unpack_from(data, pos)
            pos += 4
        elif not (vr.isalpha() and vr.isupper()):
            raise RejectedInstance("bad-meta", "the File Meta Information is not Explicit VR")
        if length > end - pos:
            raise RejectedInstance("truncated", "the File Meta Information ends early")
        if pos + length > _MAX_META:
            raise RejectedInstance("bad-meta", "the File Meta Information is too large")
        if number in (0x0002, 0x0003, 0x0010):
            values[number] = bytes(data[pos : pos + length])
        pos += length
    uids = [values.get(number, b"").rstrip(b"\0 ").decode("latin-1") for number in (0x0002, 0x0003, 0x0010)]
    if not all(map(is_uid, uids)):
        raise RejectedInstance("bad-meta", "a mandatory UID of the File Meta Information is missing or malformed")
    syntax = UID(uids[2])
    if syntax.is_private or syntax.type != "Transfer Syntax":
        raise RejectedInstance("transfer-syntax", "the transfer syntax is not known")
    return Meta(uids[0], uids[1], uids[2], pos)


def inflate(data: Buffer, limit: int = INFLATE_LIMIT) -> bytes:
    """Inflate the data set of the deflated transfer syntax (PS3.5 A.5, RFC 1951), at most to `limit` bytes.

    Raises
    ------
    RejectedInstance
        Larger than `limit`, or not deflated data.
    """
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        inflated = stream.decompress(data, limit + 1)
    except zlib.error as error:
        raise RejectedInstance("bad-deflate", "the deflated data set does not inflate") from error
    if len(inflated) > limit:
        raise RejectedInstance("inflates-too-large", f"the data set inflates to more than {limit} bytes")
    if not stream.eof:
        raise RejectedInstance("truncated", "the deflated data set ends early")
    rest = stream.unused_data
    # some writers add a trailer as of gzip (RFC 1952 §2.3.1: CRC-32 and size)
    if rest.strip(b"\0") and rest != struct.pack("<LL", zlib.crc32(inflated), len(inflated)):
        raise RejectedInstance("trailing-bytes", "bytes follow the deflated data set")
    return inflated


def _element(number: int, vr: bytes, value: bytes) -> bytes:
    if len(value) % 2:
        value += b" " if vr in (b"SH", b"AE") else b"\0"
    if vr == b"OB":
        return struct.pack("<HH2sHL", 2, number, vr, 0, len(value)) + value
    return _HEADER.pack(2, number, vr, len(value)) + value


def write_meta(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> bytes:
    """Preamble, prefix and File Meta Information for a data set that came over an association (PS3.10 §7.1).

    No AE titles: the same data set sent again, by whomever, makes the same bytes.
    """
    body = (
        _element(0x0001, b"OB", b"\0\1")
        + _element(0x0002, b"UI", sop_class_uid.encode())
        + _element(0x0003, b"UI", sop_instance_uid.encode())
        + _element(0x0010, b"UI", transfer_syntax_uid.encode())
        + _element(0x0012, b"UI", IMPLEMENTATION_CLASS_UID.encode())
        + _element(0x0013, b"SH", IMPLEMENTATION_VERSION.encode())
    )
    return b"\0" * 128 + b"DICM" + _element(0x0000, b"UL", struct.pack("<L", len(body))) + body
