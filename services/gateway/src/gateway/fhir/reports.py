"""`DiagnosticReport`: the hospitals' own reports and the consults' issued ones; `Binary`: their PDFs."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import Request
from starlette.exceptions import HTTPException

from gateway.api.portal import identity_of
from gateway.fhir.bundles import searchset
from gateway.fhir.desk import MAX_STUDIES, NOT_FOUND, Desk, token_of
from gateway.fhir.names import CONSULT_SYSTEM, REPORT_SYSTEM, report_of
from gateway.fhir.outcome import FhirError
from gateway.fhir.parameters import Search, Token
from gateway.fhir.resources import Writer
from gateway.fhir.studies import documents_of
from imaging_common.index.model import StudyDocument
from imaging_common.index.reports import ReportDocument

REPORT_PARAMETERS = ("_id", "patient", "study", "identifier", "status")
REPORT_SORTS = ("issued", "-issued")
MAX_PDF = 20 << 20
_CONSULT = re.compile(r"[0-9a-f]{32}")


class ReportShelf:
    """Answers about reports."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._reports = desk.portal.reports

    async def search(self, request: Request, search: Search) -> Any:
        """The reports on a resident's studies, or on one study; newest first."""
        somebody = await self._desk.somebody(search)
        uids = [token.code.removeprefix("urn:oid:") for values in search.tokens("study") for token in values]
        if somebody is None and not uids:
            raise FhirError(400, "required", "name the patient or the study")
        named: dict[str, Any] = {"study_uid": {"$in": [uid.rpartition("/")[2] for uid in uids]}} if uids else {}
        subject = await self._desk.subject_for(request, somebody, named)
        clause = {"$and": [*([somebody.clause] if somebody else []), *([named] if named else [])]}
        page = await self._desk.index.search_studies(subject, clause, limit=MAX_STUDIES)
        studies = {document.id: document for row in page.rows for document in documents_of(row)}
        writer = await self._desk.writer(list(studies.values()))
        found = [one for one in await self._on(request, writer, studies) if _fits(one, search)]
        found.sort(key=lambda one: one.issued, reverse=search.sort != "issued")
        shown = found[search.offset : search.offset + search.count]
        await self._desk.searched(request, "fhir-diagnostic-report", len(shown), somebody)
        patient = self._desk.ids.seal(somebody.resident_id) if somebody else None
        more = search.offset + len(shown) < len(found) and (somebody is None or bool(patient))
        return searchset(
            writer.base, "DiagnosticReport", search, shown, patient=patient or "", more=more, total=len(found)
        )

    async def read(self, request: Request, resource_id: str) -> Any:
        """One report, if the asker may see its study; a consult's for its parties and the EHR of its resident."""
        if _CONSULT.fullmatch(resource_id):
            return await self._consult(request, resource_id)
        report, documents = await self._opened(request, resource_id)
        study = next(d for d in documents if d.id == report.study_key)
        return (await self._desk.writer(documents)).hospital_report(report, study)

    async def document(self, request: Request, binary_id: str) -> bytes:
        """A PDF: `<DiagnosticReport.id>.<number>`; of a consult's report the number is its version."""
        resource_id, _, number = binary_id.rpartition(".")
        if not number.isascii() or not number.isdecimal() or len(number) > 2:
            raise HTTPException(404, NOT_FOUND)
        if _CONSULT.fullmatch(resource_id):
            return await self._consult_document(request, resource_id, int(number))
        report, _ = await self._opened(request, resource_id)
        data = await self._reports.document(report, int(number))
        if data is None:
            raise HTTPException(404, NOT_FOUND)
        return data

    async def _consult_document(self, request: Request, consult_id: str, version: int) -> bytes:
        """A version's PDF as the consult service made it: to the case's parties, and the EHR of its resident."""
        token = token_of(request, identity_of(request))
        if self._desk.is_ehr(request):
            await self._consult(request, consult_id)
        if not token:
            raise HTTPException(404, NOT_FOUND)
        file = await self._desk.portal.consults.file(token, f"{consult_id}/reports/{version}/pdf")
        parts, size = [], 0
        async for chunk in file.chunks:
            size += len(chunk)
            if size > MAX_PDF:
                raise FhirError(500, "too-long", "the document is larger than a report can be")
            parts.append(chunk)
        return b"".join(parts)

    async def _opened(self, request: Request, resource_id: str) -> tuple[ReportDocument, list[StudyDocument]]:
        named = report_of(resource_id)
        report = await self._reports.reports.report(*named) if named else None
        if report is None or report.study_key is None:
            raise HTTPException(404, NOT_FOUND)
        documents = await self._desk.opened(request, report.study_key.split("/")[1])
        if all(document.id != report.study_key for document in documents):
            raise HTTPException(404, NOT_FOUND)
        return report, documents

    async def _on(self, request: Request, writer: Writer, studies: Mapping[str, StudyDocument]) -> list[Any]:
        found = [
            writer.hospital_report(report, studies[report.study_key])
            for report in await self._reports.reports.of_studies(list(studies))
            if report.study_key is not None and report.study_key in studies
        ]
        for consult in await self._consults(request, studies):
            keys = [f"{study['holder']}/{study['study_uid']}" for study in consult["studies"]]
            study = next((studies[key] for key in keys if key in studies), None)
            if study is not None:
                found.append(writer.consult_report(consult, study))
        return found

    async def _consults(self, request: Request, studies: Mapping[str, StudyDocument]) -> Sequence[dict[str, Any]]:
        named = [{"study_uid": study.study_uid, "holder": study.holder} for study in studies.values()]
        token = token_of(request, identity_of(request))
        return await self._desk.portal.consults.reports(token, studies=named) if named and token else []

    async def _consult(self, request: Request, consult_id: str) -> Any:
        token = token_of(request, identity_of(request))
        found = await self._desk.portal.consults.reports(token, consult_id=consult_id) if token else []
        for consult in found:
            for study in consult["studies"]:
                documents = await self._desk.opened(request, study["study_uid"])
                document = next((d for d in documents if d.holder == study["holder"]), None)
                if document is not None:
                    return (await self._desk.writer(documents)).consult_report(consult, document)
        raise HTTPException(404, NOT_FOUND)


def _fits(report: Any, search: Search) -> bool:
    named = {(identifier.system, identifier.value) for identifier in report.identifier}
    for values in search.tokens("identifier"):
        if not any(_named(token, system, value) for token in values for system, value in named):
            return False
    wanted = [{token.code for token in values} for values in search.tokens("status")]
    ids = search.values.get("_id", [])
    return all(report.status in codes for codes in wanted) and all(report.id in values for values in ids)


def _named(token: Token, system: str, value: str) -> bool:
    return token.code == value and token.system in (None, system)


__all__ = ["CONSULT_SYSTEM", "REPORT_PARAMETERS", "REPORT_SORTS", "REPORT_SYSTEM", "ReportShelf"]
