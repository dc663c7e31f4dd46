"""What an operator keeps of an expert beside the account, and whether they are on duty. Pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import BaseModel, Field, StringConstraints, field_validator
from pypinyin import Style, lazy_pinyin

from consult.model.application import Line
from imaging_common.people import Person

Shift = Annotated[str, StringConstraints(pattern=r"^[0-6]-(day|night)$")]
MAX_FOUND = 50


class Expert(BaseModel):
    """One row; the account says name and hospital, and department where the row does not."""

    user: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
    name: Line = ""
    hospital: Line = ""
    department: Line = ""
    subspecialties: list[Line] = Field(default=[], max_length=40)
    duty: list[Shift] = Field(default=[], max_length=14)
    """`<weekday>-<shift>`: 0 is Monday; `day` or `night`. A night belongs to the day it begins on."""

    @field_validator("subspecialties", "duty")
    @classmethod
    def _each_once(cls, values: list[str]) -> list[str]:
        return list(dict.fromkeys(value for value in values if value))


class FoundExpert(BaseModel):
    """An answer of the search."""

    user: str
    name: str
    hospital: str
    department: str
    subspecialties: list[str]
    on_duty: bool


class Hours(BaseModel):
    """When the day shift begins and ends, in whole hours of the region's time; the rest is night."""

    zone: str = "Asia/Shanghai"
    day_begins: int = Field(default=8, ge=0, le=23)
    day_ends: int = Field(default=18, ge=1, le=24)

    def shift(self, now: datetime) -> str:
        """The shift that runs now, as rosters name it."""
        local = now.astimezone(ZoneInfo(self.zone))
        if self.day_begins <= local.hour < self.day_ends:
            return f"{local.weekday()}-day"
        began = local - timedelta(days=1) if local.hour < self.day_begins else local
        return f"{began.weekday()}-night"


def with_account(expert: Expert | None, person: Person) -> Expert:
    """The row of somebody: name and hospital as the account says them."""
    kept = expert or Expert(user=person.user)
    update = {"name": person.name, "hospital": person.hospital, "department": kept.department or person.department}
    return kept.model_copy(update=update)


def fits(expert: Expert, words: str) -> bool:
    """Whether each word is in somebody's name or department (Han, pinyin, its initials), user id, hospital or
    sub-specialty."""
    return all(any(word in text for text in _texts(expert)) for word in words.lower().split())


def _texts(expert: Expert) -> Sequence[str]:
    texts = [expert.user, expert.name, expert.hospital, expert.department, *expert.subspecialties]
    for words in (expert.name, expert.department):
        syllables = lazy_pinyin(words)
        texts += ["".join(syllables), " ".join(syllables), "".join(lazy_pinyin(words, style=Style.FIRST_LETTER))]
    return [text.lower() for text in texts]
