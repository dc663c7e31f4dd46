"""A case as `Task` (the work) and `ServiceRequest` (what was asked for); validated by their models. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fhir.resources.R4B.servicerequest import ServiceRequest
from fhir.resources.R4B.task import Task

from gateway.fhir import names
from gateway.fhir.resources import Writer
from gateway.fhir.values import filled
from gateway.workitems.cases import Case, begun_at, changed_at, last_reason, wanted_at

STATE_SYSTEM = "urn:imaging:consult-state"
TASK_CODE = "http://hl7.org/fhir/CodeSystem/task-code"
ICD10 = "http://hl7.org/fhir/sid/icd-10"
ORDER_CATEGORY = ("363679005", "Imaging")
CODE = "remote-consultation"
CODE_SYSTEM = "urn:imaging:service"
TASK_STATES: dict[str, str] = {
    "draft": "draft",
    "submitted": "requested",
    "returned": "on-hold",
    "accepted": "accepted",
    "assigned": "ready",
    "reading": "in-progress",
    "drafted": "in-progress",
    "in-review": "in-progress",
    "approved": "in-progress",
    "issued": "completed",
    "acknowledged": "completed",
    "rejected": "rejected",
    "withdrawn": "cancelled",
}
"""Consult state → Task.status; the state itself is Task.businessStatus."""
REQUEST_STATES: dict[str, str] = {
    "draft": "draft",
    "returned": "on-hold",
    "issued": "completed",
    "acknowledged": "completed",
    "rejected": "revoked",
    "withdrawn": "revoked",
}
"""Consult state → ServiceRequest.status; in every other it is active."""
PRIORITIES = {"routine": "routine", "urgent": "urgent", "emergency": "stat"}
WITH_REASON = ("returned", "rejected", "withdrawn")


def request_status(case: Case) -> str:
    """ServiceRequest.status."""
    return REQUEST_STATES.get(case["state"], "active")


@dataclass(frozen=True, slots=True)
class CaseWriter:
    """Writes a case's resources; ids are the case's."""

    writer: Writer

    def task(self, case: Case) -> Task:
        """The work on the case: who has it, how far it is."""
        state, request = case["state"], {"reference": f"ServiceRequest/{case['id']}", "type": "ServiceRequest"}
        asked = case.get("consultant_hospital")
        outputs = [self._part("report", f"DiagnosticReport/{case['id']}")] if self._has_report(case) else []
        begun = next((step["at"] for step in case.get("timeline") or [] if step["state"] == "reading"), None)
        resource = {
            "resourceType": "Task",
            "id": case["id"],
            "meta": self._meta(case),
            "identifier": [self._identifier(case)],
            "basedOn": [request],
            "partOf": [{"reference": f"Task/{case['parent_id']}"}] if case.get("parent_id") else [],
            "status": TASK_STATES[state],
            "statusReason": {"text": last_reason(case)} if state in WITH_REASON else None,
            "businessStatus": {"coding": [{"system": STATE_SYSTEM, "code": state}]},
            "intent": "order",
            "priority": PRIORITIES.get(case.get("urgency", ""), "routine"),
            "code": {"coding": [{"system": TASK_CODE, "code": "fulfill"}], "text": f"远程影像会诊 {case['number']}"},
            "description": case.get("purpose"),
            "focus": request,
            "for": self.subject(case),
            "executionPeriod": {"start": begun} if begun else None,
            "authoredOn": begun_at(case),
            "lastModified": changed_at(case),
            "requester": self.writer.hospital(case["applicant_hospital"]),
            "owner": self.writer.hospital(asked) if asked else None,
            "restriction": {"period": {"end": wanted_at(case)}} if wanted_at(case) else None,
            "input": [self._part("study", reference) for reference in self._studies(case)],
            "output": outputs,
        }
        return Task.model_validate(filled(resource))

    def request(self, case: Case) -> ServiceRequest:
        """What the applicant wrote."""
        asked = case.get("consultant_hospital")
        category = {"system": names.SNOMED, "code": ORDER_CATEGORY[0], "display": ORDER_CATEGORY[1]}
        expert = {"type": "Practitioner", "display": case.get("expert_name")} if case.get("expert_name") else None
        above = f"ServiceRequest/{case['parent_id']}" if case.get("parent_id") else ""
        resource = {
            "resourceType": "ServiceRequest",
            "id": case["id"],
            "meta": self._meta(case),
            "identifier": [self._identifier(case)],
            "basedOn": [{"reference": above}] if above else [],
            "status": request_status(case),
            "intent": "order",
            "category": [{"coding": [category]}],
            "priority": PRIORITIES.get(case.get("urgency", ""), "routine"),
            "code": {"coding": [{"system": CODE_SYSTEM, "code": CODE}], "text": case.get("purpose") or "远程影像会诊"},
            "orderDetail": [{"text": item} for item in case.get("examination_items") or ()],
            "subject": self.subject(case),
            "occurrenceDateTime": case.get("desired_at"),
            "authoredOn": begun_at(case),
            "requester": self.writer.hospital(case["applicant_hospital"]),
            "performer": [*([self.writer.hospital(asked)] if asked else []), *([expert] if expert else [])],
            "reasonCode": [self._diagnosis(one) for one in case.get("diagnoses") or ()],
            "supportingInfo": [
                {"reference": reference, "type": "ImagingStudy", "identifier": _uid(reference)}
                for reference in self._studies(case)
            ],
            "note": [
                {"text": f"{label}: {text}"}
                for label, text in (
                    ("主诉 Complaint", case.get("chief_complaint")),
                    ("病史 History", case.get("history")),
                    *(("问题 Question", one) for one in case.get("questions") or ()),
                )
                if text
            ],
        }
        return ServiceRequest.model_validate(filled(resource))

    def subject(self, case: Case) -> dict[str, Any]:
        """Whose case it is: the resident, else the hospital's patient; to the case's parties by name."""
        patient = case.get("patient") or {}
        shown = {"type": "Patient", "display": patient.get("name") or "unknown"}
        resident = patient.get("resident_id")
        if resident:
            known = self.writer.patient_ids.get(resident)
            identifier = {"system": names.RESIDENT_SYSTEM, "value": resident}
            return {**shown, "reference": f"Patient/{known}" if known else None, "identifier": identifier}
        if patient.get("patient_id"):
            system = names.PATIENT_SYSTEM + holder_of(case)
            return {**shown, "identifier": {"system": system, "value": patient["patient_id"]}}
        return shown

    @staticmethod
    def _has_report(case: Case) -> bool:
        return case["state"] in ("issued", "acknowledged") or bool(case.get("amendment_reason"))

    @staticmethod
    def _meta(case: Case) -> dict[str, Any]:
        return {"versionId": str(case["version"]), "lastUpdated": changed_at(case)}

    @staticmethod
    def _identifier(case: Case) -> dict[str, Any]:
        return {"system": names.CONSULT_SYSTEM, "value": case["number"]}

    @staticmethod
    def _studies(case: Case) -> list[str]:
        return list(dict.fromkeys(f"ImagingStudy/{study['study_uid']}" for study in case.get("studies") or ()))

    @staticmethod
    def _part(kind: str, reference: str) -> dict[str, Any]:
        return {"type": {"text": kind}, "valueReference": {"reference": reference}}

    @staticmethod
    def _diagnosis(one: Mapping[str, str]) -> dict[str, Any]:
        coding = {"system": ICD10, "code": one.get("code"), "display": one["text"]}
        return {"coding": [coding] if one.get("code") else [], "text": one["text"]}


def holder_of(case: Case) -> str:
    """The hospital that gave the patient's id: the holder of the first study, else the applicant's."""
    studies = case.get("studies") or ()
    return str(studies[0]["holder"] if studies else case["applicant_hospital"])


def _uid(reference: str) -> dict[str, str]:
    return {"system": names.UID_SYSTEM, "value": f"urn:oid:{reference.partition('/')[2]}"}
