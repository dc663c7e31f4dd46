"""What the indexer writes beside a study's facts so that a search at any size reads only what it shows.

`place` is one number in the order of the study list (newest first is descending) and None while the study is not
listed; a range of study dates is a range of places. `tokens` are the beginnings of the patient's names, so that the
beginning of a name is an equality and every index can end in `place`: no search sorts, none reads past its page.
"""

import re
from collections.abc import Mapping
from typing import Any
from zlib import crc32

from imaging_common.index.names import name_tokens

STUDY_INDEXES: tuple[tuple[str, ...], ...] = (
    ("study_uid",),
    ("holder", "-place"),
    ("holder", "modalities", "-place"),
    ("holder", "body_parts", "-place"),
    ("holder", "tokens", "-place"),
    ("patient.id", "holder", "-place"),
    ("patient.birth_date", "holder", "-place"),
    ("accession", "holder", "-place"),
    ("resident_id", "holder", "-place"),
    ("patient_key",),
)
"""Indexes of `index.studies` that the readers rely on; `-` is descending."""
LISTED: Mapping[str, Any] = {"place": {"$gt": 0}}
_TIE_BITS = 16
_DAY = 1_000_000
_DATE = re.compile(r"\d{8}")
_TIME = re.compile(r"\d{2,6}")


def is_listed(document: Mapping[str, Any]) -> bool:
    """Whether searches find the study: it has instances, its holder still has it, nobody deleted it."""
    return bool(document.get("instance_count", 0) > 0 and not document.get("withdrawn") and not document.get("deleted"))


def place_of(study_date: str, study_time: str, study_uid: str) -> int:
    """The place in the study list: date (DA), time (TM), and a number made of the UID, so that it is nearly unique."""
    day = int(study_date) if _DATE.fullmatch(study_date) else 0
    time = _TIME.match(study_time)
    seconds = int(time.group().ljust(6, "0")) if time else 0
    return ((day * _DAY + seconds) << _TIE_BITS | crc32(study_uid.encode()) & 0xFFFF) + 1


def places_of_days(first: str, last: str) -> dict[str, int]:
    """The places of study dates `first` to `last`, both included; an empty bound is open."""
    bounds = {"$gt": (int(first) * _DAY) << _TIE_BITS if _DATE.fullmatch(first) else 0}
    if _DATE.fullmatch(last):
        bounds["$lte"] = ((int(last) + 1) * _DAY) << _TIE_BITS
    return bounds


def listing_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """The fields `place` and `tokens` of a study's document, from its other fields."""
    place = None
    if is_listed(document):
        place = place_of(document.get("study_date", ""), document.get("study_time", ""), document["study_uid"])
    forms = document.get("patient", {}).get("name", {}).get("search", [])
    return {"place": place, "tokens": name_tokens(forms)}
