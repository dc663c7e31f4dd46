"""Who may be the same person: likely matches for patients that are nobody's yet, and an operator's word on it.

The EHR's word goes before an operator's (decision 0005): a link by the EHR is not changed here.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gateway.ports import PatientStatements
from gateway.usecases.command_study import may_operate_on
from imaging_common.audit import AuditTrail, who
from imaging_common.auth import Claims
from imaging_common.index.model import Patient, StudyDocument
from imaging_common.index.patients import KnownPatient, PatientIndex
from imaging_common.index.read import StudyIndex

LIKELY = 45
"""From this score on a match is shown."""
SHOWN_MATCHES = 5
SCORES = {
    "name-han": 50,
    "name-pinyin": 35,
    "name-similar": 20,
    "birth-equal": 40,
    "birth-near": 15,
    "birth-differs": -30,
    "sex-equal": 10,
    "sex-differs": -40,
}
"""What each reason counts; the sum is the score."""
Answer = Literal["linked", "unlinked", "ehr", "unknown", "malformed"]
_HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")
_RESIDENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Likeness:
    """How alike two patients are, and why."""

    score: int
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Match:
    """Somebody whom a patient may be: a resident, or another hospital's patient who is nobody's yet either."""

    resident_id: str | None
    studies: tuple[StudyDocument, ...]
    """One of each patient that is linked to the resident, the likeliest first."""
    likeness: Likeness


def likeness(one: Patient, other: Patient) -> Likeness:
    """Compare name (Han, pinyin), birth date and sex; without any likeness of names the score is 0."""
    name = _names(one, other)
    if name is None:
        return Likeness(0, ())
    reasons = [name]
    if one.birth_date and other.birth_date:
        reasons.append(_birth(one.birth_date, other.birth_date))
    if {one.sex, other.sex} <= {"M", "F"}:
        reasons.append("sex-equal" if one.sex == other.sex else "sex-differs")
    return Likeness(sum(SCORES[reason] for reason in reasons), tuple(reasons))


def _names(one: Patient, other: Patient) -> str | None:
    forms = [{form.replace(" ", "") for form in patient.name.search} for patient in (one, other)]
    han, latin = ([{f for f in each if bool(_HAN.search(f)) is wanted} for each in forms] for wanted in (True, False))
    if han[0] & han[1]:
        return "name-han"
    if latin[0] & latin[1]:
        return "name-pinyin"
    close = any(_one_apart(a, b) for a in latin[0] for b in latin[1] if min(len(a), len(b)) > 4)
    return "name-similar" if close else None


def _one_apart(one: str, other: str) -> bool:
    """Whether one letter was changed, left out or added."""
    if len(one) > len(other):
        one, other = other, one
    if len(other) - len(one) > 1:
        return False
    same = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), len(one))
    return one[same + (len(one) == len(other)) :] == other[same + 1 :]


def _birth(one: str, other: str) -> str:
    """Equal, or one of year, month and day differs, or month and day are swapped (DA values)."""
    if one == other:
        return "birth-equal"
    parts = [(value[:4], value[4:6], value[6:8]) for value in (one, other)]
    swapped = (parts[1][0], parts[1][2], parts[1][1])
    near = sum(a == b for a, b in zip(*parts, strict=True)) == 2 or parts[0] == swapped
    return "birth-near" if near else "birth-differs"


class ReviewPatients:
    """The review list of unlinked patients, and what an operator says of them."""

    def __init__(
        self, patients: PatientIndex, index: StudyIndex, statements: PatientStatements, audit: AuditTrail
    ) -> None:
        self.patients = patients
        self._index = index
        self._statements = statements
        self._audit = audit

    async def matches(self, patient: KnownPatient, hospitals: Sequence[str]) -> list[Match]:
        """Whom the patient may be, likeliest first; linked residents before patients who are nobody's yet."""
        groups: dict[str, list[tuple[Likeness, StudyDocument]]] = {}
        residents: dict[str, str | None] = {}
        for study in await self.patients.resembling(patient, hospitals):
            alike = likeness(patient.study.patient, study.patient)
            if alike.score < LIKELY:
                continue
            resident = (await self._index.resident(study.resident_id)).id if study.resident_id else None
            key = f"resident {resident}" if resident else study.patient_key
            residents[key] = resident
            groups.setdefault(key, []).append((alike, study))
        found = []
        for key, members in groups.items():
            members.sort(key=lambda member: -member[0].score)
            one_each = {study.patient_key: study for _, study in reversed(members)}
            studies = tuple(study for _, study in members if one_each.get(study.patient_key) is study)
            found.append(Match(residents[key], studies, members[0][0]))
        found.sort(key=lambda match: (-match.likeness.score, match.resident_id is None, match.studies[0].id))
        return found[:SHOWN_MATCHES]

    async def say(self, claims: Claims, hospital: str, patient_id: str, resident_id: str | None) -> Answer:
        """Link the patient to the resident, or with None take an operator's link back; recorded, denials too."""
        found = await self.patients.of([f"{hospital}^{patient_id}"]) if patient_id else []
        allowed = may_operate_on(claims, hospital)
        answer: Answer = "unlinked" if resident_id is None else "linked"
        if not allowed or not found:
            answer = "unknown"
        elif found[0].study.linked_by == "ehr":
            answer = "ehr"
        elif resident_id is not None and not _RESIDENT.fullmatch(resident_id):
            answer = "malformed"
        done = answer in ("linked", "unlinked")
        if done:
            await self._statements.say(hospital, patient_id, resident_id)
        await self._audit.record(
            action="unlink" if resident_id is None else "link",
            outcome="success" if done else "denied",
            reason="operator" if done else answer if allowed else "not-an-operator",
            **who(claims),
            study_uid=found[0].study.study_uid if found else None,
            holder=hospital if found else None,
            resident_id=(resident_id or found[0].study.resident_id) if done else None,
        )
        return answer
