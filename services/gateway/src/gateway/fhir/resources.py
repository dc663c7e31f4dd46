"""The index's documents as FHIR R4B resources; every one is validated by its model. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

from fhir.resources.R4B.diagnosticreport import DiagnosticReport
from fhir.resources.R4B.endpoint import Endpoint
from fhir.resources.R4B.imagingstudy import ImagingStudy
from fhir.resources.R4B.patient import Patient

from gateway.fhir import names
from gateway.fhir.values import date_time, filled, narrative
from gateway.model import HospitalEntry
from imaging_common.index.model import SeriesDocument, StudyDocument
from imaging_common.index.reports import ReportDocument

WADO, IID = "wado-rs", "iid"
ENDPOINTS = {
    WADO: ("dicom-wado-rs", "DICOM WADO-RS", "/dicomweb", "application/dicom"),
    IID: ("ihe-iid", "IHE IID", "/IHEInvokeImageDisplay", "text/html"),
}
STATES = {"preliminary": "preliminary", "final": "final", "amended": "amended", "cancelled": "cancelled"}


@dataclass(frozen=True, slots=True)
class Writer:
    """What the resources need beside the documents."""

    root: str
    """The portal's public address."""
    zone: tzinfo
    hospitals: Mapping[str, HospitalEntry]
    patient_ids: Mapping[str, str]
    """Patient.id by resident id, where there is one."""

    @property
    def base(self) -> str:
        """The FHIR base address."""
        return self.root + names.BASE

    def imaging_study(self, documents: Sequence[StudyDocument], series: Sequence[SeriesDocument]) -> ImagingStudy:
        """A study that lies at these holders, the one to show first."""
        first = documents[0]
        merged = {one.series_uid: one for one in reversed(series)}
        shown = sorted(merged.values(), key=lambda one: (one.series_number is None, one.series_number, one.series_uid))
        resource: dict[str, Any] = {
            "resourceType": "ImagingStudy",
            "id": first.study_uid,
            "meta": {
                "lastUpdated": max(d.updated_at for d in documents).isoformat(),
                "versionId": f"{first.version.epoch}.{first.version.n}",
            },
            "identifier": [
                {"system": names.UID_SYSTEM, "value": f"urn:oid:{first.study_uid}"},
                *(self._accession(d) for d in documents if d.accession),
            ],
            "status": "available",
            "modality": [self._modality(modality) for modality in first.modalities],
            "subject": self.subject(first),
            "started": self.started(first),
            "endpoint": [{"reference": f"Endpoint/{name}"} for name in ENDPOINTS],
            "numberOfSeries": max(first.series_count, len(shown)),
            "numberOfInstances": first.instance_count,
            "description": first.description,
            "location": {"display": "、".join(self.hospital(d.holder)["display"] for d in documents)},
            "series": [self._series(one) for one in shown],
        }
        return ImagingStudy.model_validate(filled(resource))

    def _series(self, series: SeriesDocument) -> dict[str, Any]:
        return {
            "uid": series.series_uid,
            "number": series.series_number if series.series_number and series.series_number > 0 else None,
            "modality": self._modality(series.modality or "OT"),
            "description": series.description,
            "numberOfInstances": series.instance_count,
            "bodySite": self._body_site(series.body_part),
            "performer": [{"actor": self.hospital(series.holder)}],
        }

    def _accession(self, document: StudyDocument) -> dict[str, Any]:
        return {
            "type": {"coding": [{"system": names.IDENTIFIER_TYPE, "code": "ACSN"}]},
            "system": names.ACCESSION_SYSTEM + document.holder,
            "value": document.accession,
            "assigner": self.hospital(document.holder),
        }

    def hospital(self, hospital: str) -> dict[str, Any]:
        """A hospital as a logical reference to an Organization."""
        entry = self.hospitals.get(hospital)
        return {
            "type": "Organization",
            "identifier": {"system": names.HOSPITAL_SYSTEM, "value": hospital},
            "display": entry.name_zh if entry else hospital,
        }

    def subject(self, document: StudyDocument) -> dict[str, Any]:
        """Whose it is: the resident, else the hospital's patient; no name."""
        resident = document.resident_id
        if resident:
            patient = self.patient_ids.get(resident)
            return {
                "reference": f"Patient/{patient}" if patient else None,
                "type": "Patient",
                "identifier": {"system": names.RESIDENT_SYSTEM, "value": resident},
            }
        if document.patient.id:
            system = names.PATIENT_SYSTEM + document.holder
            return {"type": "Patient", "identifier": {"system": system, "value": document.patient.id}}
        return {"type": "Patient", "display": "unknown"}

    def started(self, document: StudyDocument) -> str | None:
        """Study Date and Time as dateTime in the region's zone; the date alone where there is no time."""
        return date_time(document.study_date, document.study_time, self.zone)

    @staticmethod
    def _modality(modality: str) -> dict[str, Any]:
        return {"system": names.DCM, "code": modality}

    @staticmethod
    def _body_site(part: str) -> dict[str, Any] | None:
        coded = names.BODY_SITES.get(part.upper())
        if coded:
            return {"system": names.SNOMED, "code": coded[0], "display": coded[1]}
        return {"display": part} if part else None

    def endpoint(self, name: str) -> Endpoint:
        """Where a program retrieves, or a person looks."""
        code, display, path, mime = ENDPOINTS[name]
        resource = {
            "resourceType": "Endpoint",
            "id": name,
            "status": "active",
            "connectionType": {"system": names.CONNECTION_TYPE, "code": code, "display": display},
            "name": display,
            "payloadType": [{"text": "DICOM"}],
            "payloadMimeType": [mime],
            "address": self.root + path,
        }
        return Endpoint.model_validate(resource)

    def patient(self, resident: str, patients: Sequence[tuple[str, str]]) -> Patient:
        """Identifiers only: the resident's, and those that hospitals gave (hospital, patient id)."""
        identifiers: list[dict[str, Any]] = [{"system": names.RESIDENT_SYSTEM, "value": resident}]
        identifiers += [
            {"system": names.PATIENT_SYSTEM + hospital, "value": number, "assigner": self.hospital(hospital)}
            for hospital, number in patients
        ]
        resource = {"resourceType": "Patient", "id": self.patient_ids.get(resident), "identifier": identifiers}
        return Patient.model_validate(filled(resource))

    def hospital_report(self, report: ReportDocument, study: StudyDocument) -> DiagnosticReport:
        """A hospital's own report on a study, as its newest version says it."""
        resource_id = names.report_id(report.hospital, report.report_key)
        count = 1 if report.kind == "dicom-pdf" else len(report.attachments)
        titles = [a.get("title", "") for a in report.attachments] or [report.title]
        resource = self._report(
            resource_id,
            status=STATES[report.status],
            identifier={
                "type": {"coding": [{"system": names.IDENTIFIER_TYPE, "code": "FILL"}]},
                "system": names.REPORT_SYSTEM + report.hospital,
                "value": report.report_id,
            },
            title=report.title,
            issued=report.issued_at,
            hospital=report.hospital,
            author=report.author,
            findings=report.findings,
            impression=report.impression,
            study=study,
        )
        resource["presentedForm"] = [
            {"contentType": "application/pdf", "url": f"{self.base}/Binary/{resource_id}.{n}", "title": titles[n]}
            for n in range(count)
        ]
        return DiagnosticReport.model_validate(filled(resource))

    def consult_report(self, consult: Mapping[str, Any], study: StudyDocument) -> DiagnosticReport:
        """The issued report of a consult on a study."""
        report = consult["report"]
        resource = self._report(
            consult["id"],
            status="final" if report["version"] == 1 else "amended",
            identifier={"system": names.CONSULT_SYSTEM, "value": consult["number"]},
            title="会诊意见 Consultation",
            issued=datetime.fromisoformat(report["issued_at"]),
            hospital=consult["consultant_hospital"],
            author=report["author_name"],
            findings=report["findings"],
            impression=report["impression"],
            study=study,
        )
        resource["meta"] = {"versionId": str(report["version"]), "lastUpdated": report["issued_at"]}
        resource["basedOn"] = [{"reference": f"ServiceRequest/{consult['id']}", "type": "ServiceRequest"}]
        if (report.get("outputs") or {}).get("pdf_sha256"):
            resource["presentedForm"] = [
                {
                    "contentType": "application/pdf",
                    "url": f"{self.base}/Binary/{consult['id']}.{report['version']}",
                    "title": f"{consult['number']} v{report['version']}",
                    "creation": report["issued_at"],
                }
            ]
        return DiagnosticReport.model_validate(filled(resource))

    def _report(
        self,
        resource_id: str,
        *,
        status: str,
        identifier: dict[str, Any],
        title: str,
        issued: datetime,
        hospital: str,
        author: str,
        findings: str,
        impression: str,
        study: StudyDocument,
    ) -> dict[str, Any]:
        uid = {"system": names.UID_SYSTEM, "value": f"urn:oid:{study.study_uid}"}
        category = {"system": "http://terminology.hl7.org/CodeSystem/v2-0074", "code": "RAD", "display": "Radiology"}
        code = {"system": names.LOINC, "code": "18748-4", "display": "Diagnostic imaging study"}
        return {
            "resourceType": "DiagnosticReport",
            "id": resource_id,
            "text": narrative(findings, impression),
            "identifier": [identifier],
            "status": status,
            "category": [{"coding": [category]}],
            "code": {"coding": [code], "text": title},
            "subject": self.subject(study),
            "effectiveDateTime": self.started(study),
            "issued": issued.isoformat(),
            "performer": [self.hospital(hospital)],
            "resultsInterpreter": [{"display": author}] if author else None,
            "imagingStudy": [
                {"reference": f"ImagingStudy/{study.study_uid}", "type": "ImagingStudy", "identifier": uid}
            ],
            "conclusion": impression,
        }
