"""A PACS for tests, in memory: matches as PS3.4 C.2.2.2 says, and misbehaves as it is told."""

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from edge_agent.errors import PacsRefused, PacsUnreachable
from edge_agent.pacs_model import (
    INSTANCE_NUMBER,
    MODALITIES,
    PATIENT_ID,
    SERIES_UID,
    SOP_CLASS,
    SOP_UID,
    STUDY_DATE,
    STUDY_INSTANCE_COUNT,
    STUDY_SERIES_COUNT,
    STUDY_TIME,
    STUDY_UID,
    DicomJson,
    Found,
    StudyMatch,
)

CT = "1.2.840.10008.5.1.4.1.1.2"


@dataclass
class FakeStudy:
    """One study: SOP Instance UIDs by series."""

    study_uid: str
    date: str = "20200101"
    time: str = "101500"
    patient_id: str = "1001"
    patient_name: str = "Zhang^San"
    series: dict[str, list[str]] = field(default_factory=dict)
    headers: dict[str, DicomJson] = field(default_factory=dict)
    """Whole headers of single instances, in the place of the usual ones."""


@dataclass
class FakePacs:
    """`PacsQuery` without a network."""

    gives_headers: bool = True
    gives_counts: bool = True
    cuts_at: int = 10**9
    """Answers are cut off here, silently unless it `says_so`."""
    says_so: bool = False
    matches_uids: bool = True
    """Whether UIDs match by wildcards."""
    away: bool = False
    headers_fail: bool = False
    contents: dict[str, FakeStudy] = field(default_factory=dict)
    questions: int = 0

    def put(self, study_uid: str, instances: int = 2, **facts: str) -> FakeStudy:
        """Add a study of one series."""
        study = self.contents[study_uid] = replace(FakeStudy(study_uid), **facts)  # type: ignore[arg-type]
        study.series[f"{study_uid}.1"] = [f"{study_uid}.1.{n}" for n in range(1, instances + 1)]
        return study

    async def studies(self, match: StudyMatch) -> Found:
        """See `PacsQuery`."""
        self._ask()
        found = [self._answer(one) for one in self.contents.values() if self._matches(match, one)]
        return Found(found[: self.cuts_at], complete=not self.says_so or len(found) <= self.cuts_at)

    async def series(self, study_uid: str) -> list[DicomJson]:
        """See `PacsQuery`."""
        self._ask()
        study = self.contents.get(study_uid)
        return [_json({SERIES_UID: uid, "00080060": "CT"}) for uid in study.series] if study else []

    async def instances(self, study_uid: str, series_uid: str) -> list[DicomJson]:
        """See `PacsQuery`."""
        self._ask()
        return self._instances(study_uid, series_uid)

    async def headers(self, study_uid: str, series_uid: str) -> list[DicomJson]:
        """See `PacsQuery`."""
        self._ask()
        if self.headers_fail or not self.gives_headers:
            raise PacsRefused("no metadata")
        study = self.contents[study_uid]
        named = {PATIENT_ID: study.patient_id, STUDY_UID: study_uid, SERIES_UID: series_uid}
        name: DicomJson = {"00100010": {"vr": "PN", "Value": [{"Alphabetic": study.patient_name}]}}
        return [
            study.headers.get(one[SOP_UID]["Value"][0], {**one, **_json(named), **name})
            for one in self._instances(study_uid, series_uid)
        ]

    async def close(self) -> None:
        """See `PacsQuery`."""

    def _ask(self) -> None:
        self.questions += 1
        if self.away:
            raise PacsUnreachable("the PACS takes no association")

    def _instances(self, study_uid: str, series_uid: str) -> list[DicomJson]:
        study = self.contents.get(study_uid)
        uids = study.series.get(series_uid, []) if study else []
        return [
            {**_json({SOP_UID: uid, SOP_CLASS: CT}), **_json({INSTANCE_NUMBER: n})}
            for n, uid in enumerate(uids, start=1)
        ]

    def _answer(self, study: FakeStudy) -> DicomJson:
        facts: dict[str, str | int] = {
            STUDY_UID: study.study_uid,
            STUDY_DATE: study.date,
            STUDY_TIME: study.time,
            PATIENT_ID: study.patient_id,
            MODALITIES: "CT",
        }
        if self.gives_counts:
            facts[STUDY_SERIES_COUNT] = len(study.series)
            facts[STUDY_INSTANCE_COUNT] = sum(map(len, study.series.values()))
        name: DicomJson = {"00100010": {"vr": "PN", "Value": [{"Alphabetic": study.patient_name}]}}
        return {**_json(facts), **name}

    def _matches(self, match: StudyMatch, study: FakeStudy) -> bool:
        values = {
            STUDY_UID: study.study_uid,
            STUDY_DATE: study.date,
            STUDY_TIME: study.time,
            PATIENT_ID: study.patient_id,
        }
        for tag, key in match.keys().items():
            value = values[tag]
            if tag in (STUDY_DATE, STUDY_TIME):
                first, dash, last = key.partition("-")
                fits = value and (first <= value and (not last or value <= last) if dash else value == first)
            elif tag == STUDY_UID and not self.matches_uids:
                fits = value == key
            else:
                fits = fnmatch.fnmatchcase(value, key.replace("[", "[[]"))
            if not fits:
                return False
        return True


def _json(values: Mapping[str, str | int]) -> DicomJson:
    return {tag: {"vr": "LO", "Value": [value]} for tag, value in values.items() if value != ""}
