"""Persons in HL7 v2: PID and names, as DICOM writes them."""

import re
from dataclasses import dataclass
from typing import Literal

from imaging_common.reports.hl7v2 import Marks, Segment
from imaging_common.reports.model import is_han

_GROUPS = {"A": 0, "I": 1, "P": 2}
"""Name representation code (HL7 table 0465): alphabetic, ideographic, phonetic."""

_SEXES: dict[str, Literal["M", "F", "O"]] = {"M": "M", "F": "F", "O": "O", "A": "O"}


@dataclass(frozen=True, slots=True)
class Person:
    """A patient as the hospital's system knows them."""

    id: str = ""
    name: str = ""
    """PN with component groups (PS3.5 §6.2.1)."""
    birth_date: str = ""
    sex: Literal["", "M", "F", "O"] = ""


def person_of(segment: Segment) -> Person:
    """What PID says."""
    identifiers = [text for text in segment.repeats(3) if segment.marks.part(text, 1)] or segment.repeats(2)
    typed = [text for text in identifiers if segment.marks.part(text, 5).upper() in ("PI", "MR", "PT")]
    identity = segment.marks.part((typed or identifiers)[0], 1)
    born = segment.part(7)[:8]
    return Person(
        id=identity[:64],
        name=pn_of(segment.repeats(5), segment.marks),
        birth_date=born if re.fullmatch(r"\d{8}", born) else "",
        sex=_SEXES.get(segment.part(8).upper(), ""),
    )


def pn_of(names: list[str], marks: Marks) -> str:
    """XPN repetitions (family^given^middle^suffix^prefix^degree^type^representation) as one PN value.

    >>> pn_of(["王^小东"], Marks("^", "~", "&"))
    '=王^小东'
    """
    groups = ["", "", ""]
    for name in names[:4]:
        family, given, middle, suffix, prefix = (marks.part(name, place) for place in (1, 2, 3, 4, 5))
        text = re.sub(r"[=\x00-\x1f]", " ", "^".join((family, given, middle, prefix, suffix)).rstrip("^"))[:64]
        place = _GROUPS.get(marks.part(name, 8).upper(), 1 if is_han(text) else 0)
        groups[place] = groups[place] or text
    return "=".join(groups).rstrip("=")
