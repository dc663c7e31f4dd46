"""A hospital's policy, the region's limits where it has set none, and who needs a second reader. Pure."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from consult.model import Consult, ReportText
from consult.model.application import Line, Urgency

SecondReader = Literal["never", "always", "by-modality", "critical"]
Level = Literal["community", "secondary", "tertiary", "outside"]
MAX_MINUTES = 60 * 24 * 90
Minutes = Annotated[int, Field(ge=1, le=MAX_MINUTES)]
CRITICAL_MINUTES = 30
"""So soon the applicant's side confirms that it knows of a critical value; the same for all."""


class Limits(BaseModel):
    """Minutes from the submission; None: the region's own value counts."""

    model_config = ConfigDict(extra="forbid")

    accept: Minutes | None = None
    opinion: Minutes | None = None
    report: Minutes | None = None

    @model_validator(mode="after")
    def _one_after_the_other(self) -> Self:
        given = [value for value in (self.accept, self.opinion, self.report) if value is not None]
        if given != sorted(given):
            raise ValueError("a case is accepted before the first opinion, and that comes before the report")
        return self


class Letterhead(BaseModel):
    """How a hospital signs its letters; empty: it has said nothing."""

    name_zh: Line = ""
    name_en: Line = ""
    address: Line = ""
    phone: Line = ""


class Policy(BaseModel):
    """What a hospital wants of the cases it is asked."""

    second_reader: SecondReader = "never"
    second_reader_modalities: list[Annotated[str, Field(pattern=r"^[A-Z0-9_ ]{1,16}$")]] = Field([], max_length=20)
    """(0008,0060), for `by-modality`."""
    limits: dict[Urgency, dict[Level, Limits]] = {}
    """By the application's urgency and the level of the hospital that is asked."""
    letterhead: Letterhead = Letterhead()

    @model_validator(mode="after")
    def _modalities_are_named(self) -> Self:
        if self.second_reader == "by-modality" and not self.second_reader_modalities:
            raise ValueError("name the modalities whose reports need a second reader, or choose another rule")
        return self


_HOUR = 60
REGION: dict[Urgency, tuple[int, int, int]] = {
    "emergency": (10, 30, _HOUR),
    "urgent": (_HOUR, 4 * _HOUR, 8 * _HOUR),
    "routine": (8 * _HOUR, 24 * _HOUR, 48 * _HOUR),
}
"""The region's minutes until a case is accepted, the first opinion is given, and the report is issued."""
OUTSIDE_FACTOR = 3
"""Experts outside the region have so many times as long, but in an emergency."""


def minutes_of(policy: Policy, urgency: Urgency, level: Level) -> tuple[int, int, int]:
    """Minutes until a case is accepted, the first opinion, and the report: the hospital's, else the region's."""
    factor = OUTSIDE_FACTOR if level == "outside" and urgency != "emergency" else 1
    region = [minutes * factor for minutes in REGION[urgency]]
    chosen = policy.limits.get(urgency, {}).get(level, Limits())
    accept, opinion, report = (
        mine or otherwise
        for mine, otherwise in zip((chosen.accept, chosen.opinion, chosen.report), region, strict=True)
    )
    return accept, opinion, report


def needs_second_reader(policy: Policy, consult: Consult, text: ReportText | None) -> bool:
    """Whether a report is read twice; while its modalities are not known, it is: rather once too often."""
    match policy.second_reader:
        case "always":
            return True
        case "by-modality":
            return not consult.modalities or bool(set(consult.modalities) & set(policy.second_reader_modalities))
        case "critical":
            return text is not None and text.critical
        case _:
            return False
