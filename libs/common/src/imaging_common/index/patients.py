"""Questions about patients, for operators who say who is the same person: facts only, of all hospitals asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from imaging_common.index.listing import LISTED
from imaging_common.index.model import StudyDocument
from imaging_common.index.names import query_tokens
from imaging_common.index.read import IndexReader
from imaging_common.index.streams import Clause, in_order, joined

NEWEST = (("place", -1),)
SLACK = 64
MAX_WALK = 20_000
MAX_SAME = 200
"""Studies that are looked at to find who a patient may be."""
MAX_STUDIES = 50
"""Studies of one patient that are looked at."""


@dataclass(frozen=True, slots=True)
class KnownPatient:
    """A patient as one hospital knows them: the facts of the newest study, and how many studies there are."""

    key: str
    """`<hospital>^<patient id>`."""
    study: StudyDocument
    studies: int

    @property
    def hospital(self) -> str:
        """The issuer of the patient id."""
        return self.key.partition("^")[0]


class PatientIndex:
    """Patients of the region; who may ask is for the caller to decide."""

    def __init__(self, reader: IndexReader) -> None:
        self._reader = reader

    async def unlinked(self, hospitals: Sequence[str], *, limit: int, offset: int) -> tuple[list[KnownPatient], bool]:
        """Patients that are nobody's yet, those with the newest studies first; and whether there are more."""
        wanted = offset + limit + 1
        size = wanted + SLACK
        while True:
            parts = [
                await self._newest({"resident_id": None, "holder": holder}, size, {"patient_key": 1, "place": 1})
                for holder in hospitals
            ]
            cut = any(len(part) == size for part in parts)
            found = in_order(parts, NEWEST)[: size if cut else None]
            keys = [key for key in dict.fromkeys(document["patient_key"] for document in found) if key]
            if len(keys) >= wanted or not cut or size >= MAX_WALK:
                break
            size *= 2
        return await self.of(keys[offset : offset + limit]), len(keys) > offset + limit

    async def of(self, keys: Sequence[str]) -> list[KnownPatient]:
        """The patients with these keys, in this order; without listed studies they are left out."""
        patients = []
        for key in keys:
            found = await self._newest({"patient_key": key}, MAX_STUDIES)
            if found:
                patients.append(KnownPatient(key, StudyDocument.model_validate(found[0]), len(found)))
        return patients

    async def linked_by_operators(self, hospitals: Sequence[str], limit: int) -> list[KnownPatient]:
        """Patients whose link is an operator's."""
        where = {"linked_by": "operator", "hospital": {"$in": list(hospitals)}}
        found = await self._reader.find("links", where, order=(("_id", 1),), limit=limit, projection={"_id": 1})
        return await self.of([document["_id"] for document in found])

    async def named(self, hospitals: Sequence[str], words: str, limit: int) -> list[KnownPatient]:
        """Patients with this id, or whose name begins so, linked or not."""
        tokens = query_tokens(words, fuzzy=True)
        ways: list[Clause] = [{"patient.id": words}, *([{"tokens": {"$in": tokens}}] if tokens else [])]
        found = [d for way in ways for d in await self._newest({**way, "holder": {"$in": list(hospitals)}}, MAX_SAME)]
        return await self.of([key for key in dict.fromkeys(d["patient_key"] for d in found) if key][:limit])

    async def resembling(self, patient: KnownPatient, hospitals: Sequence[str]) -> list[StudyDocument]:
        """Studies of other patients of the same name, however written, or born on the same day."""
        exact = [form.replace(" ", "") + "$" for form in patient.study.patient.name.search]
        ways: list[Clause] = [{"tokens": {"$in": sorted(set(exact))}}]
        if patient.study.patient.birth_date:
            ways.append({"patient.birth_date": patient.study.patient.birth_date})
        others = {"holder": {"$in": list(hospitals)}, "patient_key": {"$nin": [patient.key, ""]}}
        found: dict[str, Mapping[str, Any]] = {}
        for way in ways:
            found |= {d["_id"]: d for d in await self._newest({**way, **others}, MAX_SAME)}
        return [StudyDocument.model_validate(document) for document in found.values()]

    async def _newest(
        self, where: Clause, limit: int, projection: Mapping[str, int] | None = None
    ) -> list[dict[str, Any]]:
        clause = joined([where, LISTED])
        return await self._reader.find("studies", clause, order=NEWEST, limit=limit, projection=projection)
