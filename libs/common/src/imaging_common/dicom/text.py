"""Decodes text by Specific Character Set (0008,0005) (PS3.3 C.12.1.1.2, PS3.5 §6.1) without ever failing."""

import re

from pydicom.charset import CODES_TO_ENCODINGS, python_encoding

_ESCAPED = re.compile(rb"(\x1b(?:\$\([A-Z]|\$\)[A-Z]|\$[A-Z]|[()\-][A-Z]))")
_KEEPS_ESCAPE = ("iso2022_jp", "iso2022_jp_2")
_ALIASES = {"iso_ir_58": "gb2312"}


class Charset:
    """The character sets of one data set or item."""

    def __init__(self, terms: list[str] | None = None) -> None:
        names = [python_encoding.get(term.strip()) for term in terms or []]
        self._declared = any(names)
        self._encodings = [_ALIASES.get(name, name) for name in names if name] or ["latin_1"]

    def decode(self, value: bytes) -> str:
        """The text of a value. What does not decode becomes U+FFFD; an undeclared set is UTF-8 if it can be."""
        if value.isascii() and b"\x1b" not in value:
            return value.decode("ascii")
        if b"\x1b" in value:
            return self._decode_escaped(value)
        if not self._declared:
            try:
                return value.decode("utf-8")
            except UnicodeDecodeError:
                return value.decode("latin_1")
        return value.decode(self._encodings[0], "replace")

    def _decode_escaped(self, value: bytes) -> str:
        """Code extensions (PS3.5 §6.1.2.5): each escape sequence switches the set of what follows."""
        pieces = _ESCAPED.split(value)
        text = pieces[0].decode(self._encodings[0], "replace")
        for escape, piece in zip(pieces[1::2], pieces[2::2], strict=True):
            name = CODES_TO_ENCODINGS.get(escape, "latin_1")
            if name in _KEEPS_ESCAPE:
                text += (escape + piece).decode(name, "replace")
            else:
                text += piece.decode(_ALIASES.get(name, name), "replace")
        return text
