"""What changed between two versions of a report, field by field: Han by character, other scripts by word."""

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Literal

from pydantic import BaseModel

from consult.model import KeyImage, ReportText

TEXTS = ("findings", "impression", "recommendations", "critical_text")
FLAGS = ("positive", "critical")
_PIECES = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]|\d+(?:\.\d+)?|[^\W\d_]+|\s+|.", re.DOTALL)


class Piece(BaseModel):
    """A stretch of text: in both versions, only in the later, or only in the earlier."""

    kind: Literal["same", "added", "removed"]
    text: str


class FieldDifference(BaseModel):
    """What became of one field."""

    field: str
    changed: bool
    pieces: list[Piece]
    """In reading order; what was removed stands before what came instead."""


class KeyImagesDifference(BaseModel):
    """Which key images came and went."""

    added: list[KeyImage] = []
    removed: list[KeyImage] = []


class ReportDifference(BaseModel):
    """From version `a` to version `b`."""

    a: int
    b: int
    fields: list[FieldDifference]
    key_images: KeyImagesDifference


def difference(earlier: ReportText, later: ReportText, a: int, b: int) -> ReportDifference:
    """Compare two versions."""
    fields = [_field(name, getattr(earlier, name), getattr(later, name)) for name in TEXTS]
    fields += [_field(name, _word(getattr(earlier, name)), _word(getattr(later, name))) for name in FLAGS]
    before, after = earlier.key_images, later.key_images
    images = KeyImagesDifference(
        added=[one for one in after if one not in before], removed=[one for one in before if one not in after]
    )
    return ReportDifference(a=a, b=b, fields=fields, key_images=images)


def compare(earlier: str, later: str) -> list[Piece]:
    """The pieces of two texts; a number is one piece, so that 1.5 and 15 never look half the same."""
    old, new = _PIECES.findall(earlier), _PIECES.findall(later)
    pieces: list[Piece] = []
    for kind, i1, i2, j1, j2 in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            _add(pieces, "same", old[i1:i2])
        else:
            _add(pieces, "removed", old[i1:i2])
            _add(pieces, "added", new[j1:j2])
    return pieces


def _field(name: str, earlier: str, later: str) -> FieldDifference:
    return FieldDifference(field=name, changed=earlier != later, pieces=compare(earlier, later))


def _word(flag: bool) -> str:
    return "yes" if flag else "no"


def _add(pieces: list[Piece], kind: Literal["same", "added", "removed"], words: Sequence[str]) -> None:
    if words:
        pieces.append(Piece(kind=kind, text="".join(words)))
