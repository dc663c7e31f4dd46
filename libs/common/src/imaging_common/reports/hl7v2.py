"""HL7 v2 messages (ER7): character set, segments, acknowledgement. python-hl7 splits, this module knows fields.

The bytes are decoded before they are split: the second byte of a GB18030 character may look like `|` or `^`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from uuid import uuid4

import hl7

from imaging_common.reports.errors import UnreadableMessage

MEDIA_TYPE = "x-application/hl7-v2+er7"
MAX_MESSAGE_BYTES = 32 * 1024 * 1024
MAX_SEPARATORS = 200_000
"""More make no report, only objects in memory."""
VERSIONS = re.compile(r"2\.[3-5](\.\d)?")
_CHARACTER_SETS = {
    "unicodeutf8": "utf-8", "utf8": "utf-8", "unicode": "utf-8",
    "gb180302000": "gb18030", "gb180302005": "gb18030", "gb18030": "gb18030",
    "gbk": "gb18030", "gb2312": "gb18030", "gb231280": "gb18030", "cp936": "gb18030",
}  # fmt: skip
"""HL7 table 0211 and what Chinese systems write, without blanks, dashes and dots. GB18030 contains GBK and GB 2312."""
_TIMESTAMP = re.compile(r"(\d{4})(\d\d)?(\d\d)?(\d\d)?(\d\d)?(\d\d)?(?:\.\d+)?([+-]\d{4})?")
_ESCAPE = re.compile(r"\\([^\\\r]{0,64})\\")


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment; fields are counted as HL7 counts them (MSH-1 is the separator)."""

    name: str
    fields: tuple[str, ...]
    marks: "Marks"

    def field(self, number: int) -> str:
        """The whole field as written, empty when it is not there."""
        return self.fields[number] if number < len(self.fields) else ""

    def repeats(self, number: int) -> list[str]:
        """The field's repetitions as written."""
        return self.field(number).split(self.marks.repetition)

    def part(self, number: int, component: int = 1, subcomponent: int = 0) -> str:
        """A component (of the first repetition), unescaped; subcomponent 0: the component with all of them."""
        return self.marks.part(self.repeats(number)[0], component, subcomponent)


@dataclass(frozen=True, slots=True)
class Marks:
    """The separators of a message, MSH-1 and MSH-2."""

    component: str
    repetition: str
    subcomponent: str

    def part(self, text: str, component: int, subcomponent: int = 0) -> str:
        """A component of one repetition, unescaped and stripped."""
        parts = text.split(self.component)
        value = parts[component - 1] if component <= len(parts) else ""
        if subcomponent:
            inner = value.split(self.subcomponent)
            value = inner[subcomponent - 1] if subcomponent <= len(inner) else ""
        return self.unescape(value).strip()

    def unescape(self, text: str) -> str:
        """Escape sequences (HL7 v2.5 §2.7) as what they mean; formatting as line breaks and blanks."""

        def meaning(found: re.Match[str]) -> str:
            name = found.group(1)
            plain = {"F": "|", "S": self.component, "T": self.subcomponent, "R": self.repetition, "E": "\\"}
            if name in plain:
                return plain[name]
            if name.lower().startswith((".br", ".sp", ".ce", ".fi", ".nf")):
                return "\n"
            if re.fullmatch(r"X([0-9A-Fa-f]{2}){1,16}", name):
                return bytes.fromhex(name[1:]).decode("gb18030", "replace").replace("\r\n", "\n").replace("\r", "\n")
            return ""

        return _ESCAPE.sub(meaning, text) if "\\" in text else text


@dataclass(frozen=True, slots=True)
class Message:
    """A message that has a header; what else it has is for its reader to judge."""

    segments: tuple[Segment, ...]
    charset: str

    @property
    def header(self) -> Segment:
        """MSH."""
        return self.segments[0]

    @property
    def kind(self) -> str:
        """MSH-9 as `ORU^R01`."""
        return f"{self.header.part(9, 1)}^{self.header.part(9, 2)}"

    @property
    def control_id(self) -> str:
        """MSH-10."""
        return self.header.field(10).strip()

    def all(self, name: str) -> Iterator[Segment]:
        """The segments of one name, in order."""
        return (segment for segment in self.segments if segment.name == name)

    def first(self, name: str) -> Segment | None:
        """The first segment of that name."""
        return next(self.all(name), None)


def read_message(data: bytes) -> Message:
    """Decode and split one message.

    Raises
    ------
    UnreadableMessage
        It is no HL7 v2.3–2.5 message, is not in the character set it names, or is out of bounds.
    """
    if len(data) > MAX_MESSAGE_BYTES:
        raise UnreadableMessage("too-large", f"the message is larger than {MAX_MESSAGE_BYTES} bytes", "AR")
    if not re.match(rb"\s*MSH[^\w\s]", data):
        raise UnreadableMessage("no-header", "the message does not begin with MSH", "AR")
    charset, text = decode(data.strip(b"\x0b\x1c\r\n\t "))
    text = re.sub(r"\r\n?|\n", "\r", text)
    if len(set(text[3:8])) != 5 or any(mark.isalnum() or mark.isspace() for mark in text[3:8]):
        raise UnreadableMessage("bad-separators", "MSH-1 and MSH-2 are not five different separators", "AR")
    if sum(text.count(mark) for mark in (*text[3:6], text[7], "\r")) > MAX_SEPARATORS:
        raise UnreadableMessage("too-large", f"the message has more than {MAX_SEPARATORS} fields", "AR")
    marks = Marks(text[4], text[5], text[7])
    try:
        parsed = hl7.parse(text)
        segments = tuple(
            Segment(str(line[0]), tuple(str(field) for field in line), marks) for line in parsed if str(line).strip()
        )
    except (hl7.HL7Exception, ValueError, IndexError, KeyError, RecursionError) as error:
        raise UnreadableMessage("malformed", "the message cannot be split into segments and fields", "AR") from error
    message = Message(segments, charset)
    if not VERSIONS.fullmatch(version := message.header.part(12)):
        known = version if re.fullmatch(r"[0-9.]{1,8}", version) else "none"
        raise UnreadableMessage("version", f"MSH-12: version {known} is not one of 2.3 to 2.5", "AR")
    if not message.control_id or len(message.control_id) > 199:
        raise UnreadableMessage("no-control-id", "MSH-10, the message control id, is missing or too long", "AR")
    return message


def decode(data: bytes) -> tuple[str, str]:
    """(Python's name of the character set, text): by MSH-18, else UTF-8 where it is that, else GB18030."""
    named = _named_charset(data)
    try:
        if named:
            return named, data.decode(named)
    except UnicodeDecodeError as error:
        raise UnreadableMessage("charset", f"the message is not in the character set of MSH-18 ({named})") from error
    for guess in ("utf-8", "gb18030"):
        try:
            return guess, data.decode(guess)
        except UnicodeDecodeError:
            continue
    raise UnreadableMessage("charset", "the message is neither UTF-8 nor GB18030, and MSH-18 does not say what it is")


def _named_charset(data: bytes) -> str:
    header = re.split(rb"[\r\n]", data[:4096], maxsplit=1)[0]
    fields = header.split(header[3:4])
    value = fields[17].decode("latin-1") if len(fields) > 17 else ""
    first = next((part for part in value.split(header[5:6].decode("latin-1")) if part.strip()), "")
    return _CHARACTER_SETS.get(re.sub(r"[^a-z0-9]", "", first.lower()), "")


def read_time(text: str, zone: tzinfo) -> datetime | None:
    """A TS value (HL7 v2.5 §2.A.77); without offset it is in `zone`; None when it is none."""
    found = _TIMESTAMP.fullmatch(text.strip())
    if found is None:
        return None
    year, month, day, hour, minute, second, offset = found.groups()
    where: tzinfo = zone
    if offset:
        minutes = int(offset[1:3]) * 60 + int(offset[3:])
        where = timezone(timedelta(minutes=-minutes if offset[0] == "-" else minutes))
    try:
        return datetime(
            int(year), int(month or 1), int(day or 1), int(hour or 0), int(minute or 0), int(second or 0), tzinfo=where
        )
    except ValueError:
        return None


def acknowledgement(data: bytes, code: str, text: str = "", message: Message | None = None) -> bytes:
    """The ACK (HL7 v2.5 §2.9) for a message, also for one that could not be read. `text` names no patient."""
    now = datetime.now(UTC).strftime("%Y%m%d%H%M%S+0000")
    header = message.header if message else None

    def said(number: int) -> str:
        return header.field(number) if header else ""

    trigger = f"ACK^{header.part(9, 2)}" if header and header.part(9, 2) else "ACK"
    version = said(12) or "2.3"
    control = said(10) or _control_id(data)
    clean = re.sub(r"[|^~\\&\r\n]", " ", text)[:80]
    fields = ["MSH", "^~\\&", said(5), said(6), said(3), said(4), now, "", trigger, uuid4().hex[:20]]
    fields += [said(11) or "P", version, "", "", "", "", "", said(18)]
    if header is not None:
        fields[1] = header.field(2)
        separator = header.field(1)
        fields[8] = trigger.replace("^", header.marks.component)
    else:
        separator = "|"
    lines = [separator.join(fields).rstrip(separator), separator.join(["MSA", code, control, clean]).rstrip(separator)]
    return ("\r".join(lines) + "\r").encode(message.charset if message else "ascii", "replace")


def _control_id(data: bytes) -> str:
    """MSH-10 of a message that cannot be read, if it is a plain word."""
    fields = re.split(rb"[\r\n]", data[:4096], maxsplit=1)[0].split(b"|")
    word = fields[9].decode("latin-1").strip() if len(fields) > 9 and fields[0].strip().endswith(b"MSH") else ""
    return word if re.fullmatch(r"[\w.:-]{1,64}", word, re.ASCII) else ""
