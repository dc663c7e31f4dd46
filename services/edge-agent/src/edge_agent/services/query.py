"""Questions of the hospital's workstations, asked of the region: matches of a C-FIND, and what a C-MOVE or C-GET means.

Every study is asked for at the holder it is shown of, so that the patient in the answer is the patient in the objects.
"""

import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from pydicom.dataset import Dataset

from edge_agent.errors import IdentifierRefused, RegionRefused
from edge_agent.services.coercion import Coercion, Owner, owner_of
from edge_agent.services.identifiers import Question, answer, matches_wildcard
from edge_agent.services.region import Parameters, Row
from imaging_common.ids import HOSPITAL_PATTERN, is_uid
from imaging_common.index.residents import RESIDENT_ISSUER
from imaging_common.telemetry import get_logger

_log = get_logger(__name__)
MAX_SUBOPERATIONS = 65535
"""Numbers of sub-operations are US (PS3.7 E.1)."""
STUDIES_PER_PATIENT = 10
UIDS_PER_SEARCH = 50
OWN_IDS = 50
"""Own studies that are looked at for the ids of one resident."""
LINK_SECONDS = 10.0
MAX_LINKS = 4096
_PATIENT_COUNTS = {0x00201200: None, 0x00201202: "00201206", 0x00201204: "00201208"}
_DIGEST = re.compile(r"[0-9a-f]{31}")
Match = tuple[Owner, Row]


class TooManyMatches(Exception):
    """More than the limit."""


class Region(Protocol):
    """What `RegionDicomweb` does."""

    def search(self, path: str, parameters: Parameters, limit: int) -> Iterator[Row]:
        """Rows of a QIDO-RS search."""
        ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """An instance to be sent."""

    owner: Owner
    study_path: str
    series_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    """Empty: nobody knows before it comes."""

    @property
    def path(self) -> str:
        """Its WADO-RS resource."""
        return f"{self.study_path}/series/{self.series_uid}/instances/{self.sop_instance_uid}"


@dataclass(slots=True)
class Group:
    """The wanted instances of one study, and the resources that together hold them."""

    paths: list[str]
    wanted: dict[str, Wanted] = field(default_factory=dict)


class RegionQuery:
    """The region as one hospital's workstations may see it.

    Parameters
    ----------
    limit
        Matches that one C-FIND may give.
    """

    def __init__(self, region: Region, coercion: Coercion, ae_title: str, limit: int) -> None:
        self._region = region
        self._coercion = coercion
        self._ae_title = ae_title
        self._limit = limit
        self._own = f"hospitals/{coercion.hospital}/studies"
        self._known: dict[str, tuple[float, str]] = {}

    def matches(self, question: Question) -> Iterator[Dataset]:
        """The answers to a C-FIND, at most `limit`.

        Raises
        ------
        TooManyMatches
            There are more.
        RegionUnavailable, RegionRefused
            See `RegionDicomweb.search`.
        """
        for number, found in enumerate(self._found(question)):
            if number >= self._limit:
                raise TooManyMatches
            yield found

    def _found(self, question: Question) -> Iterator[Dataset]:
        if question.level == "PATIENT":
            yield from self._patients(question)
            return
        for owner, row in self.studies(question):
            if question.level == "STUDY":
                yield self._answer(question, owner, [row])
                continue
            for path, parameters in self._below(question, owner, keys=True):
                for lower in self._region.search(path, parameters, self._limit + 1):
                    yield self._answer(question, owner, [lower, row])

    def plan(self, question: Question) -> list[Group]:
        """The instances that a C-MOVE or C-GET identifier names.

        Raises
        ------
        TooManyMatches
            More than can be counted.
        RegionUnavailable, RegionRefused
            See `RegionDicomweb.search`.
        """
        groups, count = [], 0
        named = Question(question.level, question.charset, [], question.patient_id, {}, question.uids)
        for owner, _ in self.studies(named):
            study = self._study_path(owner)
            searches: list[tuple[str, list[tuple[str, str]]]]
            if question.level in ("PATIENT", "STUDY"):
                group, searches = Group([study]), [(f"{study}/instances", [])]
            elif question.level == "SERIES":
                searches = [(f"{study}/series/{uid}/instances", []) for uid in question.uids["SERIES"]]
                group = Group([path.removesuffix("/instances") for path, _ in searches])
            else:
                group, searches = Group([]), self._below(named, owner, keys=False)
            for path, parameters in searches:
                for row in self._region.search(path, parameters, MAX_SUBOPERATIONS + 1):
                    one = _wanted(owner, study, row)
                    if one is not None:
                        group.wanted[one.sop_instance_uid] = one
            if question.level == "IMAGE":
                group.paths = [one.path for one in group.wanted.values()]
            count += len(group.wanted)
            if count > MAX_SUBOPERATIONS:
                raise TooManyMatches
            groups.append(group)
        return [group for group in groups if group.wanted]

    def studies(self, question: Question) -> Iterator[Match]:
        """The studies of a question with their owners, each once; those whose owner is not known are left out."""
        parameters = question.parameters("PATIENT" if question.level == "PATIENT" else "STUDY")
        if question.level in ("SERIES", "IMAGE"):
            parameters = []
        uids = question.uids.get("STUDY", [])
        limit = self._limit * (STUDIES_PER_PATIENT if question.level == "PATIENT" else 1) + 1
        seen: set[str] = set()
        for owner, row in self._owned(self._study_rows(parameters, question.patient_id, uids, limit)):
            wrong = question.patient_id and not matches_wildcard(question.patient_id, self._coercion.patient_id(owner))
            if owner.study_uid in seen or wrong:
                continue
            seen.add(owner.study_uid)
            yield owner, row

    def _study_rows(
        self, parameters: list[tuple[str, str]], patient_id: str, uids: list[str], limit: int
    ) -> Iterator[Row]:
        if uids:
            for start in range(0, len(uids), UIDS_PER_SEARCH):
                some = ",".join(uids[start : start + UIDS_PER_SEARCH])
                yield from self._region.search("studies", [*parameters, ("StudyInstanceUID", some)], limit)
            return
        if not patient_id.strip("*"):
            yield from self._region.search("studies", parameters, limit)
            return
        yield from self._region.search("studies", [*parameters, ("PatientID", patient_id)], limit)
        for resident in self._residents_of(patient_id):
            yield from self._region.search("studies", [*parameters, *_named(resident)], limit)
        holder, colon, native = patient_id.partition(":")
        if not colon or holder == self._coercion.hospital or not re.fullmatch(HOSPITAL_PATTERN, holder):
            return
        key = [] if _DIGEST.fullmatch(native) or not native else [("PatientID", native)]
        try:
            rows = list(self._region.search(f"hospitals/{holder}/studies", [*parameters, *key], limit))
        except RegionRefused:
            return
        # the region's own root says of which holder each of them is shown
        if found := [uid for row in rows if (uid := _uid(row, "0020000D"))]:
            yield from self._study_rows([p for p in parameters if p[0] == "includefield"], "", found, limit)

    def _owned(self, rows: Iterable[Row]) -> Iterator[Match]:
        """Rows with their owners; what does not name its holder counts only if the own hospital's root has it."""
        unsaid: dict[str, Row] = {}
        for row in rows:
            owner = owner_of(row, self._coercion.hospital)
            if owner is not None:
                yield self._linked(owner), row
            elif uid := _uid(row, "0020000D"):
                unsaid[uid] = row
        names = list(unsaid)
        for start in range(0, len(names), UIDS_PER_SEARCH):
            some = ",".join(names[start : start + UIDS_PER_SEARCH])
            for row in self._region.search(self._own, [("StudyInstanceUID", some)], UIDS_PER_SEARCH):
                owner = owner_of(row, self._coercion.hospital, asked_own=True)
                if owner is not None and (known := unsaid.pop(owner.study_uid, None)):
                    yield owner, {**known, **row}
        if unsaid:
            _log.error("studies-without-holder", count=len(unsaid))

    def _residents_of(self, patient_id: str) -> set[str]:
        """Who the EHR says an own patient is, so that the studies of the same person elsewhere are found too."""
        if set(patient_id) & {"*", "?"}:
            return set()
        rows = self._region.search(self._own, [("PatientID", patient_id)], OWN_IDS)
        owners = [owner_of(row, self._coercion.hospital, asked_own=True) for row in rows]
        return {owner.resident for owner in owners if owner is not None and owner.resident}

    def _linked(self, owner: Owner) -> Owner:
        """With the id by which the own hospital knows the resident, the first of them if it knows several."""
        if not owner.resident or not self._coercion.foreign(owner):
            return owner
        known = self._known.get(owner.resident)
        if known is None or time.monotonic() - known[0] > LINK_SECONDS:
            rows = self._region.search(self._own, _named(owner.resident), OWN_IDS)
            ids = sorted(filter(None, (str(_first(row, "00100020") or "").strip() for row in rows)))
            if len(self._known) >= MAX_LINKS:
                self._known.clear()
            self._known[owner.resident] = known = (time.monotonic(), ids[0] if ids else "")
        return replace(owner, linked_id=known[1])

    def _patients(self, question: Question) -> Iterator[Dataset]:
        patients: dict[str, list[Match]] = {}
        for owner, row in self.studies(question):
            patients.setdefault(self._coercion.patient_id(owner), []).append((owner, row))
        for studies in patients.values():
            owner, row = studies[0]
            shown = {tag: element for tag, element in row.items() if tag.startswith("0010")}
            for tag, counted in _PATIENT_COUNTS.items():
                number = len(studies) if counted is None else sum(_number(one, counted) for _, one in studies)
                shown[f"{tag:08X}"] = {"vr": "IS", "Value": [number]}
            yield self._answer(question, owner, [shown])

    def _answer(self, question: Question, owner: Owner, rows: list[Row]) -> Dataset:
        dataset = answer(question, rows, ae_title=self._ae_title)
        if {"PatientID", "IssuerOfPatientID", "OtherPatientIDsSequence"} & set(dataset.dir()):
            self._coercion.apply(dataset, owner)
        return dataset

    def _below(self, question: Question, owner: Owner, *, keys: bool) -> list[tuple[str, list[tuple[str, str]]]]:
        """The searches below a study that a question at series or instance level needs."""
        study = self._study_path(owner)
        if question.level == "SERIES":
            parameters = question.parameters("SERIES") if keys else []
            return [(f"{study}/series", [*parameters, *_uids("SeriesInstanceUID", question.uids["SERIES"])])]
        parameters = question.parameters("IMAGE") if keys else []
        named = _uids("SOPInstanceUID", question.uids["IMAGE"])
        return [(f"{study}/series/{uid}/instances", [*parameters, *named]) for uid in question.uids["SERIES"]]

    @staticmethod
    def _study_path(owner: Owner) -> str:
        if not re.fullmatch(HOSPITAL_PATTERN, owner.holder) or not is_uid(owner.study_uid):
            raise IdentifierRefused("the region named a holder or study that is none")
        return f"hospitals/{owner.holder}/studies/{owner.study_uid}"


def _wanted(owner: Owner, study: str, row: Row) -> Wanted | None:
    series, instance = _uid(row, "0020000E"), _uid(row, "00080018")
    if not series or not instance:
        return None
    return Wanted(owner, study, series, instance, _uid(row, "00080016"), _uid(row, "00083002"))


def _named(resident: str) -> list[tuple[str, str]]:
    """The search keys that name a resident."""
    return [("PatientID", resident), ("IssuerOfPatientID", RESIDENT_ISSUER)]


def _uids(keyword: str, uids: list[str]) -> list[tuple[str, str]]:
    return [(keyword, ",".join(uids))] if uids else []


def _first(row: Row, tag: str) -> Any:
    return next(iter(row.get(tag, {}).get("Value") or []), None)


def _uid(row: Row, tag: str) -> str:
    value = str(_first(row, tag) or "")
    return value if is_uid(value) else ""


def _number(row: Row, tag: str) -> int:
    return int(_first(row, tag) or 0)
