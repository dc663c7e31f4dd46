"""Rules about what a PACS lists, without I/O: a question, an answer, when history is told, what makes a difference."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from typing import Any

import orjson

from imaging_common.ids import is_uid

DicomJson = dict[str, Any]
STUDY_UID, SERIES_UID, SOP_UID, SOP_CLASS = "0020000D", "0020000E", "00080018", "00080016"
STUDY_DATE, STUDY_TIME, PATIENT_ID = "00080020", "00080030", "00100020"
STUDY_SERIES_COUNT, STUDY_INSTANCE_COUNT, MODALITIES = "00201206", "00201208", "00080061"
INSTANCE_NUMBER, SERIES_NUMBER, AVAILABLE_SYNTAX = "00200013", "00200011", "00083002"
CHARACTER_SET = "00080005"
PATIENT_AND_STUDY = (
    *("00080020", "00080030", "00080050", "00080090", "00080201", "00081030", "00100010", "00100020", "00100021"),
    *("00100030", "00100040", "00101010", "00101020", "00101030", "0020000D", "00200010"),
)
"""Attributes of the patient and the study (PS3.4 C.6.2.1.2, PS3.18 Table 10.6.1-3)."""
SERIES = (
    *("00080021", "00080031", "00080060", "0008103E", "00080070", "00081010", "00180015", "0020000E", "00200011"),
    *("00400244", "00400245"),
)
INSTANCE = (
    *("00080008", "00080016", "00080018", "00080022", "00080023", "00080032", "00080033", "00083002", "00180050"),
    *("00180088", "00185100", "00200012", "00200013", "00200032", "00200037", "00200052", "00201041", "00280002"),
    *("00280004", "00280006", "00280008", "00280010", "00280011", "00280030", "00280100", "00280101", "00280102"),
    *("00280103", "00281050", "00281051", "00281052", "00281053", "0040A043"),
)
ABOUT_THE_ANSWER = frozenset({"00080052", "00080054", "00080056", "00080130", "00081190", "00083002"})
"""Query level, Retrieve AE Title, Instance Availability, Retrieve URL: they tell of the answer, not of the study."""
COUNTS = frozenset({"00080061", "00080062", "00201200", "00201202", "00201204", "00201206", "00201208", "00201209"})


@dataclass(frozen=True, slots=True)
class StudyMatch:
    """Which studies are asked for; without anything: all of them."""

    study_uid: str = ""
    dates: tuple[date | None, date | None] | None = None
    """First and last StudyDate, None for an open end; None: any, also studies without one."""
    seconds: tuple[int, int] | None = None
    """First and last second of the day of StudyTime; None: any, also studies without one."""
    patient_id: str = ""
    """Exactly, or with `patient_prefix` its beginning."""
    patient_prefix: bool = False
    uid_prefix: str = ""

    def keys(self) -> dict[str, str]:
        """The matching keys' values (PS3.4 C.2.2.2)."""
        found: dict[str, str] = {}
        if self.study_uid:
            found[STUDY_UID] = self.study_uid
        elif self.uid_prefix:
            found[STUDY_UID] = f"{self.uid_prefix}*"
        if self.dates is not None:
            first, last = ("" if day is None else f"{day:%Y%m%d}".zfill(8) for day in self.dates)
            found[STUDY_DATE] = first if first == last else f"{first}-{last}"
        if self.seconds is not None:
            first, last = (f"{at // 3600:02d}{at // 60 % 60:02d}{at % 60:02d}" for at in self.seconds)
            found[STUDY_TIME] = f"{first}-{last}.999999"
        if self.patient_id or self.patient_prefix:
            found[PATIENT_ID] = self.patient_id + ("*" if self.patient_prefix else "")
        return found


@dataclass(slots=True)
class Found:
    """Matches of one question."""

    studies: list[DicomJson]
    complete: bool
    """False: the PACS, or the agent's own limit, cut the answer off."""
    paged: bool = False
    """The answer was read page by page to its end: nothing was cut off silently."""


@dataclass(frozen=True, slots=True)
class StudyListing:
    """What a PACS says of a study without being asked for its series."""

    study_uid: str
    study_date: str
    study_time: str
    patient_id: str
    series_count: int | None
    instance_count: int | None
    """None: the PACS does not say."""
    attributes: str
    """Digest of patient and study attributes."""

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> "StudyListing | None":
        """From an answer's DICOM JSON; None when it names no valid study."""
        uid = first_value(answer, STUDY_UID)
        if not isinstance(uid, str) or not is_uid(uid):
            return None
        told = {tag: answer[tag] for tag in PATIENT_AND_STUDY if "Value" in answer.get(tag, {})}
        return cls(
            uid,
            text(answer, STUDY_DATE)[:8],
            text(answer, STUDY_TIME),
            text(answer, PATIENT_ID),
            number(answer, STUDY_SERIES_COUNT),
            number(answer, STUDY_INSTANCE_COUNT),
            digest_of(told),
        )


def first_value(answer: Mapping[str, Any], tag: str) -> Any:
    """The first value of an attribute; None where there is none."""
    values = answer.get(tag, {}).get("Value") or [None]
    return values[0]


def text(answer: Mapping[str, Any], tag: str) -> str:
    """The first value as text; empty where there is none."""
    value = first_value(answer, tag)
    return value if isinstance(value, str) else "" if value is None else str(value)


def number(answer: Mapping[str, Any], tag: str) -> int | None:
    """The first value as a whole number."""
    try:
        return int(first_value(answer, tag))
    except (TypeError, ValueError):
        return None


def digest_of(content: Any) -> str:
    """SHA-256 of a JSON value, whatever the order of its names."""
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)).hexdigest()


def fingerprint(pairs: Iterable[tuple[str, str]]) -> str:
    """Digest over (series UID, SOP Instance UID) of all instances: whether the PACS has the same ones as before."""
    return digest_of(sorted(pairs))


@dataclass(frozen=True, slots=True)
class NightWindow:
    """A local time of day in which history is told.

    >>> NightWindow.parse("22:00-06:00").is_open(datetime(2026, 11, 24, 3, 0))
    True
    """

    start: time
    end: time | None = field(default=None)
    """None: until midnight."""

    @classmethod
    def parse(cls, text: str) -> "NightWindow":
        """From `HH:MM-HH:MM`; it may cross midnight, and `24:00` ends a day.

        Raises
        ------
        ValueError
            It is not written so.
        """
        first, _, last = text.partition("-")
        end = None if last.strip() == "24:00" else time.fromisoformat(last.strip())
        return cls(time.fromisoformat(first.strip()), end)

    def is_open(self, now: datetime) -> bool:
        """Whether `now` (local) lies in it."""
        at = now.time()
        if self.end is None:
            return at >= self.start
        if self.start <= self.end:
            return self.start <= at < self.end
        return at >= self.start or at < self.end
