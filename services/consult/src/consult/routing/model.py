"""The routing table, and what it chooses for a case. Pure: levels, rosters and loads were looked up before.

The first row that fits decides. Its conditions are about the case; its target is a hospital, a department or an
expert of it. A row without a hospital goes to whatever hospital is one level above the applicant's. Where no expert is
named, the one on duty with the sub-specialty who has the fewest open cases is chosen; where there is none, the case is
the whole department's or hospital's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import BaseModel, StringConstraints

from consult.model.application import Line
from consult.model.rules import LEVELS, level_above

OUTSIDE = LEVELS[-1]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Level = Literal["", "community", "secondary", "tertiary", "outside"]


class Row(BaseModel):
    """One row: conditions (empty: whatever), then the target."""

    name: Name
    level: Level = ""
    """Of the hospital that asks: the applicant's, or the one that escalates."""
    subspecialty: Line = ""
    modality: Line = ""
    body_part: Line = ""
    """A group of `facts.BODY_PARTS`, or a value of Body Part Examined (0018,0015)."""
    urgency: Literal["", "routine", "urgent", "emergency"] = ""
    hospital: Line = ""
    """Empty: any hospital one level above."""
    department: Line = ""
    expert: Line = ""
    """User id."""


@dataclass(frozen=True, slots=True)
class Situation:
    """A case, as the table sees it."""

    level: str
    applicant_hospital: str = ""
    subspecialty: str = ""
    modalities: frozenset[str] = frozenset()
    body_parts: frozenset[str] = frozenset()
    """Groups of `facts.BODY_PARTS`."""
    urgency: str = "routine"
    wanted: str = ""
    """Of an escalation: the level it goes to, and no other."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An expert, and how busy they are now."""

    user: str
    name: str
    hospital: str
    department: str = ""
    subspecialties: frozenset[str] = frozenset()
    on_duty: bool = False
    rostered: bool = False
    """Whether they stand on the roster at all: who does not is never off duty when a row names them."""
    open_cases: int = 0


@dataclass(frozen=True, slots=True)
class Supply:
    """Who can be asked."""

    levels: Mapping[str, str]
    """Hospital to level."""
    candidates: Sequence[Candidate] = ()
    open_cases: Mapping[str, int] = field(default_factory=dict)
    """Hospital to its open cases."""
    most_open: int = 20
    """An expert with so many open cases gets no further one by the table."""

    def least_busy(self, hospitals: Sequence[str]) -> str:
        """Of these hospitals the one with the fewest open cases, then by id."""
        return min(hospitals, key=lambda one: (self.open_cases.get(one, 0), one))


@dataclass(frozen=True, slots=True)
class Chosen:
    """To whom a case goes."""

    consultant_hospital: str
    department: str = ""
    expert: str = ""
    expert_name: str = ""


@dataclass(frozen=True, slots=True)
class Why:
    """Whether a row fits, and what stands against it: names of conditions, `own-hospital`, `no-hospital`, `off-duty`
    or `load`."""

    row: str
    fits: bool
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """What the table says; `row` empty and `chosen` None: no row fits."""

    row: str = ""
    chosen: Chosen | None = None
    why: tuple[Why, ...] = ()


def decide(rows: Sequence[Row], case: Situation, supply: Supply) -> Decision:
    """The first row that fits, and why the others do not."""
    row, chosen, why = "", None, []
    for each in rows:
        reasons = _against(each, case)
        target = None if reasons else _target(each, case, supply)
        if isinstance(target, str):
            reasons = [target]
        elif target is not None and chosen is None:
            row, chosen = each.name, target
        why.append(Why(each.name, not reasons, tuple(reasons)))
    return Decision(row, chosen, tuple(why))


def _against(row: Row, case: Situation) -> list[str]:
    """Names of the conditions that the case does not meet."""
    met = {
        "level": row.level in ("", case.level),
        "subspecialty": row.subspecialty in ("", case.subspecialty),
        "modality": not row.modality or row.modality in case.modalities,
        "body_part": not row.body_part or row.body_part in case.body_parts,
        "urgency": row.urgency in ("", case.urgency),
    }
    return [name for name, fits in met.items() if not fits]


def _target(row: Row, case: Situation, supply: Supply) -> Chosen | str:
    """Where the row leads, or what stands against it."""
    hospitals = _hospitals(row, case, supply)
    if isinstance(hospitals, str):
        return hospitals
    if row.expert:
        return _named(row, hospitals, supply)
    found = _best(row, case, hospitals, supply)
    if isinstance(found, Candidate):
        return Chosen(found.hospital, row.department or found.department, found.user, found.name)
    inside = [one for one in hospitals if supply.levels[one] != OUTSIDE]
    if not inside:
        return found  # at a hospital outside nobody but named experts sees a case
    return Chosen(supply.least_busy(inside), row.department)


def _hospitals(row: Row, case: Situation, supply: Supply) -> list[str] | str:
    if row.hospital:
        level = supply.levels.get(row.hospital)
        if level is None:
            return "no-hospital"
        if row.hospital == case.applicant_hospital:
            return "own-hospital"
        return "level" if case.wanted and level != case.wanted else [row.hospital]
    level = case.wanted or level_above(case.level or LEVELS[0])
    while level is not None:
        found = sorted(one for one, at in supply.levels.items() if at == level and one != case.applicant_hospital)
        if found or case.wanted:
            return found or "no-hospital"
        level = level_above(level)
    return "no-hospital"


def _named(row: Row, hospitals: Sequence[str], supply: Supply) -> Chosen | str:
    for one in supply.candidates:
        if one.user == row.expert and one.hospital in hospitals:
            if one.rostered and not one.on_duty:
                return "off-duty"
            if one.open_cases >= supply.most_open:
                return "load"
            return Chosen(one.hospital, row.department or one.department, one.user, one.name)
    return "off-duty"


def _best(row: Row, case: Situation, hospitals: Sequence[str], supply: Supply) -> Candidate | str:
    """On duty, of the department and with the sub-specialty where one is wanted; who has least to do, then by id."""
    subspecialty = row.subspecialty or case.subspecialty
    able = [
        one
        for one in supply.candidates
        if one.on_duty
        and one.hospital in hospitals
        and row.department in ("", one.department)
        and (not subspecialty or subspecialty in one.subspecialties)
    ]
    free = [one for one in able if one.open_cases < supply.most_open]
    if not free:
        return "load" if able else "off-duty"
    return min(free, key=lambda one: (one.open_cases, one.user))


def default_rows(levels: Mapping[str, str]) -> list[Row]:
    """A region's table before an operator has written one: from each level there is, one level up."""
    present = set(levels.values())
    return [
        Row.model_validate({"name": f"{level} → {above}", "level": level})
        for level in LEVELS[:-1]
        if level in present and (above := next((one for one in LEVELS if _above(one, level) and one in present), ""))
    ]


def _above(one: str, level: str) -> bool:
    return LEVELS.index(one) > LEVELS.index(level)
