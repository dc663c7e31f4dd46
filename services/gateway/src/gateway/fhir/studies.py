"""`ImagingStudy`: read, search, `$recent-examinations`; and `Patient`, which is what its studies say of identifiers."""

from typing import Any

from fastapi import Request

from gateway.dicomweb.access import NOT_FOUND
from gateway.fhir.bundles import searchset
from gateway.fhir.desk import MAX_STUDIES, Desk, Somebody
from gateway.fhir.names import ACCESSION_SYSTEM, UID_SYSTEM, body_part
from gateway.fhir.outcome import FhirError
from gateway.fhir.parameters import Search, Token, date_clause
from gateway.fhir.resources import ENDPOINTS, Writer
from gateway.usecases.recent_examinations import DAYS, MAX_DAYS, recent_examinations
from imaging_common.index.model import StudyDocument
from imaging_common.index.read import Row

STUDY_PARAMETERS = ("_id", "patient", "identifier", "modality", "bodysite", "started")
STUDY_SORTS = ("started", "-started")
RECENT_PARAMETERS = ("patient", "modality", "bodysite", "days")
INCLUDE_ENDPOINT = "ImagingStudy:endpoint"
MAX_SORTED = 1000


class StudyShelf:
    """Answers about studies."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._index = desk.index

    async def read(self, request: Request, study_uid: str) -> Any:
        """One study, merged over the holders the asker may see."""
        documents = await self._desk.opened(request, study_uid)
        writer = await self._desk.writer(documents)
        return (await self._resources([documents], writer))[0]

    async def search(self, request: Request, search: Search) -> Any:
        """A page of studies."""
        somebody = await self._desk.somebody(search)
        named = _named(search)
        subject = await self._desk.subject_for(request, somebody, {"$and": named} if named else {})
        where = [*([somebody.clause] if somebody else []), *named, *self._narrowed(search)]
        clause = {"$and": where} if where else {}
        if search.sort == "started":
            everything = await self._index.search_studies(subject, clause, limit=MAX_SORTED)
            if everything.remaining or everything.more:
                raise FhirError(400, "too-costly", f"more than {MAX_SORTED} studies: narrow the search")
            rows = everything.rows[::-1][search.offset : search.offset + search.count]
            total: int | None = len(everything.rows)
            more = search.offset + len(rows) < len(everything.rows)
        else:
            page = await self._index.search_studies(subject, clause, limit=search.count, offset=search.offset)
            rows, more = page.rows, bool(page.remaining)
            total = None if page.more else search.offset + len(rows) + page.remaining
        return await self._answer(request, "ImagingStudy", search, somebody, rows, more=more, total=total)

    async def recent(self, request: Request, search: Search) -> Any:
        """Recent examinations of a resident, by body part and modality: asked before an order is placed."""
        somebody = await self._desk.somebody(search)
        if somebody is None:
            raise FhirError(400, "required", "name the patient")
        days = search.one("days") or str(DAYS)
        if not days.isdecimal() or int(days) > MAX_DAYS:
            raise FhirError(400, "invalid", f"days is a whole number up to {MAX_DAYS}")
        rows = await recent_examinations(
            self._index,
            await self._desk.subject_for(request, somebody, {}),
            somebody.clause,
            today=self._desk.today(),
            modalities=[token.code for values in search.tokens("modality") for token in values],
            body_parts=[body_part(token.code) for values in search.tokens("bodysite") for token in values],
            days=int(days),
            limit=search.count,
        )
        path = "ImagingStudy/$recent-examinations"
        search.include |= {INCLUDE_ENDPOINT}
        return await self._answer(request, path, search, somebody, rows, more=False, total=len(rows))

    async def patients(self, request: Request, search: Search) -> Any:
        """The patient that a search names, if the asker may see any study of theirs: identifiers only."""
        somebody = await self._desk.somebody(search)
        if somebody is None:
            raise FhirError(400, "required", "name the patient by identifier")
        documents = await self._documents(request, somebody.clause, somebody)
        await self._desk.searched(request, "fhir-patient", len(documents), somebody)
        resident = somebody.resident_id if documents else ""
        found = [(await self._desk.writer(documents)).patient(resident, _patients(documents))] if resident else []
        writer = await self._desk.writer(documents)
        return searchset(writer.base, "Patient", search, found, total=len(found))

    async def patient(self, request: Request, patient_id: str) -> Any:
        """One patient by the sealed id."""
        resident = self._desk.ids.open(patient_id)
        if resident is None:
            raise FhirError(404, "not-found", NOT_FOUND)
        somebody = await self._desk.resident(resident)
        documents = await self._documents(request, somebody.clause, somebody)
        await self._desk.searched(request, "fhir-patient", len(documents), somebody)
        if not documents:
            raise FhirError(404, "not-found", NOT_FOUND)
        writer = await self._desk.writer(documents)
        found = writer.patient(somebody.resident_id, _patients(documents))
        return found.model_copy(update={"id": patient_id})

    async def _documents(self, request: Request, clause: Any, somebody: Somebody) -> list[StudyDocument]:
        subject = await self._desk.subject_for(request, somebody, {})
        page = await self._index.search_studies(subject, clause, limit=MAX_STUDIES)
        return [document for row in page.rows for document in documents_of(row)]

    def _narrowed(self, search: Search) -> list[dict[str, Any]]:
        zone, today = self._desk.zone, self._desk.today()
        parts: list[dict[str, Any]] = [
            {"modalities": {"$in": [token.code for token in values]}} for values in search.tokens("modality")
        ]
        parts += [
            {"body_parts": {"$in": [body_part(token.code) for token in values]}} for values in search.tokens("bodysite")
        ]
        for values in search.values.get("started", []):
            dates = [date_clause(value, zone, today) for value in values]
            parts.append(dates[0] if len(dates) == 1 else {"$or": dates})
        return parts

    async def _answer(
        self,
        request: Request,
        path: str,
        search: Search,
        somebody: Somebody | None,
        rows: list[Row],
        *,
        more: bool,
        total: int | None,
    ) -> Any:
        groups = [documents_of(row) for row in rows]
        documents = [document for group in groups for document in group]
        writer = await self._desk.writer(documents)
        found = await self._resources(groups, writer)
        reason = "recent-examinations" if "$" in path else "fhir-imaging-study"
        await self._desk.searched(request, reason, len(rows), somebody)
        patient = self._desk.ids.seal(somebody.resident_id) if somebody else None
        included = [writer.endpoint(name) for name in ENDPOINTS] if INCLUDE_ENDPOINT in search.include and rows else []
        return searchset(
            writer.base,
            path,
            search,
            found,
            patient=patient or "",
            more=more and (somebody is None or bool(patient)),
            total=total,
            included=included,
            viewer=writer.root,
        )

    async def _resources(self, groups: list[list[StudyDocument]], writer: Writer) -> list[Any]:
        keys = [document.id for group in groups for document in group]
        series = await self._index.series_of(keys) if keys else []
        return [
            writer.imaging_study(group, [one for one in series if one.study_key in {d.id for d in group}])
            for group in groups
        ]


def documents_of(row: Row) -> list[StudyDocument]:
    """A row's documents, one for each holder."""
    return [StudyDocument.model_validate(document) for document in row.documents]


def _patients(documents: list[StudyDocument]) -> list[tuple[str, str]]:
    return sorted({(d.holder, d.patient.id) for d in documents if d.patient.id})


def _named(search: Search) -> list[dict[str, Any]]:
    """The clauses that name studies: by id, Study Instance UID or accession number."""
    parts: list[dict[str, Any]] = [{"study_uid": {"$in": values}} for values in search.values.get("_id", [])]
    for values in search.tokens("identifier"):
        ways = [way for token in values for way in _identifiers(token)]
        parts.append(ways[0] if len(ways) == 1 else {"$or": ways})
    return parts


def _identifiers(token: Token) -> list[dict[str, Any]]:
    uid = token.code.removeprefix("urn:oid:")
    if token.system == UID_SYSTEM or token.code != uid:
        return [{"study_uid": uid}]
    if token.system and token.system.startswith(ACCESSION_SYSTEM):
        return [{"accession": token.code, "holder": token.system.removeprefix(ACCESSION_SYSTEM)}]
    if token.system:
        return [{"study_uid": {"$in": []}}]
    return [{"study_uid": uid}, {"accession": token.code}]
