"""Reads a JSON array object by object while it comes in, so that a study of any size is never one string in memory."""

import codecs
import json
from typing import Any

MAX_OBJECT_CHARACTERS = 32 << 20
_DECODER = json.JSONDecoder()


class ArrayReader:
    """Bytes in by `feed`, whole objects out.

    Raises
    ------
    ValueError
        What comes is no JSON array of objects, or one object is larger than `MAX_OBJECT_CHARACTERS`.
    """

    def __init__(self) -> None:
        self._text = ""
        self._decode = codecs.getincrementaldecoder("utf-8")()
        self._begun = self._ended = False
        self._tried = 0

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """The objects that are complete with these bytes; blocking."""
        self._text += self._decode.decode(data)
        if len(self._text) < 2 * self._tried:  # an object of many pieces is not tried at each piece
            return []
        return self._take()

    def end(self) -> list[dict[str, Any]]:
        """The last objects; nothing comes any more."""
        found = self._take()
        if not self._ended and (self._begun or self._text.strip()):
            raise ValueError("the array has no end")
        return found

    def _take(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        at = 0
        while not self._ended:
            at = self._skip(at)
            if at >= len(self._text):
                break
            if self._text[at] == "]":
                self._ended = True
                break
            try:
                one, at = _DECODER.raw_decode(self._text, at)
            except json.JSONDecodeError:
                break
            if not isinstance(one, dict):
                raise ValueError("an array of something else than objects")
            found.append(one)
        self._text = self._text[at:]
        self._tried = 0 if found else len(self._text)
        if len(self._text) > MAX_OBJECT_CHARACTERS:
            raise ValueError("one object is too large")
        return found

    def _skip(self, at: int) -> int:
        text = self._text
        while at < len(text) and (text[at].isspace() or (self._begun and text[at] == ",")):
            at += 1
        if not self._begun and at < len(text):
            if text[at] != "[":
                raise ValueError("no array")
            self._begun = True
            return self._skip(at + 1)
        return at
