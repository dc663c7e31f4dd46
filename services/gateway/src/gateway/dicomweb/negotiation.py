"""Accept negotiation (PS3.18 §8.7): media ranges enter, the representation to send leaves."""

from collections.abc import Sequence
from dataclasses import dataclass, field

EXPLICIT_LE = "1.2.840.10008.1.2.1"
IMPLICIT_LE = "1.2.840.10008.1.2"
EXPLICIT_BE = "1.2.840.10008.1.2.2"
NATIVE = frozenset({EXPLICIT_LE, IMPLICIT_LE, EXPLICIT_BE, "1.2.840.10008.1.2.1.99"})
OCTETS = "application/octet-stream"
DICOM = "application/dicom"
DICOM_JSON = "application/dicom+json"
JPEG = "1.2.840.10008.1.2.4."
MEDIA_TYPES = {
    **dict.fromkeys((f"{JPEG}50", f"{JPEG}51", f"{JPEG}57", f"{JPEG}70"), "image/jpeg"),
    **dict.fromkeys((f"{JPEG}80", f"{JPEG}81"), "image/jls"),
    **dict.fromkeys((f"{JPEG}90", f"{JPEG}91"), "image/jp2"),
    **dict.fromkeys((f"{JPEG}92", f"{JPEG}93"), "image/jpx"),
    **dict.fromkeys((f"{JPEG}201", f"{JPEG}202", f"{JPEG}203"), "image/jphc"),
    "1.2.840.10008.1.2.5": "image/dicom-rle",
    **dict.fromkeys((f"{JPEG}100", f"{JPEG}101"), "video/mpeg"),
    **dict.fromkeys((f"{JPEG}102", f"{JPEG}103", f"{JPEG}104", f"{JPEG}105", f"{JPEG}106"), "video/mp4"),
}
"""Transfer syntax → media type of its frames (PS3.18 Table 8.7.3-2, 8.7.3-5, 8.7.3-6)."""
ENCODABLE = {"image/jphc": f"{JPEG}201", "image/jls": f"{JPEG}80", "image/jp2": f"{JPEG}90", "image/jpeg": f"{JPEG}70"}
"""What frames are encoded to on request, all lossless: the default transfer syntax of each media type."""


@dataclass(frozen=True, slots=True)
class MediaRange:
    """One element of an Accept header."""

    type: str
    """What is wanted: of `multipart/related` its `type` parameter."""
    multipart: bool = False
    transfer_syntax: str = ""
    """Empty: not said. `*`: any."""
    quality: float = 1.0
    parameters: dict[str, str] = field(default_factory=dict, hash=False, compare=False)

    def takes(self, media_type: str) -> bool:
        """Whether a media type is in this range."""
        main, _, sub = self.type.partition("/")
        return self.type == "*/*" or self.type == media_type or (sub == "*" and media_type.startswith(f"{main}/"))


def _split(text: str, separator: str) -> list[str]:
    """Split outside quoted strings (RFC 9110 §5.6.4)."""
    parts, quoted, start = [], False, 0
    for position, character in enumerate(text):
        if character == '"':
            quoted = not quoted
        elif character == separator and not quoted:
            parts.append(text[start:position])
            start = position + 1
    return [part.strip() for part in (*parts, text[start:]) if part.strip()]


def parse_accept(*headers: str | None) -> list[MediaRange]:
    """The media ranges of Accept headers and the `accept` query parameter, most wanted first; none means `*/*`."""
    ranges = []
    for element in _split(",".join(header for header in headers if header), ","):
        name, *rest = _split(element, ";")
        parameters = {
            key.strip().lower(): value.strip().strip('"') for key, _, value in (text.partition("=") for text in rest)
        }
        multipart = name.lower() == "multipart/related"
        try:
            quality = float(parameters.get("q", "1"))
        except ValueError:
            quality = 0.0
        wanted = parameters.get("type", "*/*") if multipart else name
        syntax = parameters.get("transfer-syntax", "")
        ranges.append(MediaRange(wanted.lower(), multipart, syntax, quality, parameters))
    accepted = [r for r in ranges if r.quality > 0]
    if not ranges:
        return [MediaRange("*/*")]
    return sorted(accepted, key=lambda r: -r.quality)


@dataclass(frozen=True, slots=True)
class FrameForm:
    """How frames are sent."""

    media_type: str
    transfer_syntax: str
    """Of what is sent."""
    multipart: bool

    @property
    def part_type(self) -> str:
        """Content-Type of one frame."""
        return f"{self.media_type}; transfer-syntax={self.transfer_syntax}"


def choose_frame_form(accepted: Sequence[MediaRange], stored: str, *, frames: int) -> FrameForm | None:
    """The form of frames whose stored transfer syntax is `stored`; None: not acceptable (406).

    Without a wish for an image type or for any transfer syntax, frames are Explicit VR Little Endian (PS3.18 §8.7.3.3).
    """
    for wanted in accepted:
        multipart = wanted.multipart or wanted.type == "*/*"
        if not multipart and frames != 1:
            continue
        form = _form(wanted, stored, multipart)
        if form is not None:
            return form
    return None


def _form(wanted: MediaRange, stored: str, multipart: bool) -> FrameForm | None:
    native = stored in NATIVE
    media = OCTETS if native else MEDIA_TYPES.get(stored, OCTETS)
    syntax = EXPLICIT_LE if native else stored
    kept = FrameForm(media, syntax, multipart)
    uncompressed = FrameForm(OCTETS, EXPLICIT_LE, multipart)
    asked = wanted.transfer_syntax
    if wanted.takes(OCTETS):
        if asked == "*" or (asked == stored and asked):
            return kept
        if asked in ("", EXPLICIT_LE):
            return uncompressed
        if wanted.type != "*/*":
            return None
    if not native and wanted.takes(media) and asked in ("", "*", stored):
        return kept
    for image, default in ENCODABLE.items():
        allowed = {default, f"{JPEG}202"} if image == "image/jphc" else {default}
        if wanted.takes(image) and (asked in ("", "*") or asked in allowed):
            return FrameForm(image, asked if asked in allowed else default, multipart)
    return None


def choose(accepted: Sequence[MediaRange], offered: Sequence[str]) -> MediaRange | None:
    """The first media range that takes one of the offered types, with `type` set to it; None: 406."""
    for wanted in accepted:
        for media_type in offered:
            if wanted.takes(media_type):
                return MediaRange(media_type, wanted.multipart, wanted.transfer_syntax, wanted.quality)
    return None
