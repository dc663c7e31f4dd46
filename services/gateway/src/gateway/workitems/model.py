"""A case as a Unified Procedure Step (PS3.3 C.30, PS3.4 CC.2.5), in DICOM JSON. Pure.

Work items are made of cases when they are asked for; nothing is stored. Two liberties are taken: a case that is
returned or released is SCHEDULED again, which PS3.4 CC.1.1 knows no way to; and input is named by study, with the
address that gives all of it, since a case names no series.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

from gateway.dicomweb.attributes import tag_of, vr_of
from gateway.workitems.cases import Case, begun_at, changed_at, last_reason, wanted_at

Json = dict[str, Any]
UPS_PUSH = "1.2.840.10008.5.1.4.34.6.1"
ENCAPSULATED_PDF = "1.2.840.10008.5.1.4.1.1.104.1"
SCHEDULED, IN_PROGRESS, COMPLETED, CANCELED = "SCHEDULED", "IN PROGRESS", "COMPLETED", "CANCELED"
STATES: dict[str, str] = {
    "submitted": SCHEDULED,
    "returned": SCHEDULED,
    "accepted": SCHEDULED,
    "assigned": SCHEDULED,
    "reading": IN_PROGRESS,
    "drafted": IN_PROGRESS,
    "in-review": IN_PROGRESS,
    "approved": IN_PROGRESS,
    "issued": COMPLETED,
    "acknowledged": COMPLETED,
    "rejected": CANCELED,
    "withdrawn": CANCELED,
}
"""Consult state → Procedure Step State (0074,1000). A draft is no work item."""
PRIORITIES = {"emergency": "HIGH", "urgent": "MEDIUM", "routine": "LOW"}
INTERPRETATION = ("110005", "DCM", "Interpretation")
"""The workitem (CID 9231)."""
LABEL = "远程影像会诊"
REGION = "99REGION"
"""Coding scheme of the region's own codes: hospitals by their id."""
ICD10 = "I10"
"""ICD-10 (PS3.16 Table 8-1)."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a work item tells besides the case."""

    root: str
    """The portal's public address."""
    zone: tzinfo
    hospitals: Mapping[str, str]
    """Names by id."""

    def hospital(self, hospital: str) -> str:
        """Its name."""
        return self.hospitals.get(hospital, hospital)


def uid_of(consult_id: str) -> str:
    """The work item's SOP Instance UID: the case's id, which is a UUID, below 2.25 (PS3.5 B.2)."""
    return f"2.25.{int(consult_id, 16)}"


def consult_of(uid: str) -> str | None:
    """The case behind a work item's UID; None: it is none of ours."""
    number = uid.removeprefix("2.25.")
    if (
        number == uid
        or not number.isascii()
        or not number.isdecimal()
        or len(number) > 39
        or number != str(int(number))
    ):
        return None
    return f"{int(number):032x}" if int(number) < 1 << 128 else None


def step_state(case: Case) -> str | None:
    """Procedure Step State; None: it is no work item. An issued report stays COMPLETED while it is amended."""
    state = STATES.get(case["state"])
    return COMPLETED if case.get("amendment_reason") and state in (SCHEDULED, IN_PROGRESS) else state


def consult_states(step: str) -> frozenset[str] | None:
    """The states of cases that may be in this Procedure Step State; None: in any."""
    if step == COMPLETED:
        return None
    return frozenset(state for state, told in STATES.items() if told == step)


def workitem(case: Case, around: Surroundings) -> Json:
    """The work item in DICOM JSON, its attributes in the order of their tags."""
    step, patient = step_state(case) or SCHEDULED, case.get("patient") or {}
    asked, diagnoses = str(case.get("consultant_hospital") or ""), case.get("diagnoses") or []
    item = _dataset(
        SpecificCharacterSet="ISO_IR 192",
        SOPClassUID=UPS_PUSH,
        SOPInstanceUID=uid_of(case["id"]),
        AdmittingDiagnosesDescription=[_line(one["text"]) for one in diagnoses],
        AdmittingDiagnosesCodeSequence=[_code(one["code"], ICD10, one["text"]) for one in diagnoses if one["code"]],
        PatientName=_name(patient.get("name")),
        PatientID=patient.get("patient_id"),
        IssuerOfPatientID=patient.get("issuer"),
        PatientBirthDate=patient.get("birth_date"),
        PatientSex=patient.get("sex"),
        AdmissionID=None,
        ScheduledProcedureStepStartDateTime=_moment(begun_at(case), around.zone),
        ScheduledProcedureStepModificationDateTime=_moment(changed_at(case), around.zone),
        ExpectedCompletionDateTime=_moment(wanted_at(case), around.zone),
        ScheduledWorkitemCodeSequence=[_code(*INTERPRETATION)],
        ScheduledStationNameCodeSequence=[_code(asked, REGION, around.hospital(asked))] if asked else [],
        ScheduledStationClassCodeSequence=[],
        ScheduledStationGeographicLocationCodeSequence=[],
        ScheduledHumanPerformersSequence=_performers(case, around),
        InputReadinessState="INCOMPLETE" if case["state"] == "returned" else "READY",
        InputInformationSequence=[_input(study, around) for study in case.get("studies") or ()],
        ReferencedRequestSequence=[_request(case, study, around) for study in case.get("studies") or ()],
        ScheduledProcessingParametersSequence=[],
        ScheduledProcedureStepPriority=PRIORITIES.get(case.get("urgency", ""), "MEDIUM"),
        ProcedureStepLabel=f"{LABEL} {case['number']}",
        WorklistLabel=LABEL,
        ProcedureStepState=step,
        ProcedureStepProgressInformationSequence=_progress(case, step, around),
        UnifiedProcedureStepPerformedProcedureSequence=_performed(case, step, around),
    )
    return dict(sorted(item.items()))


def _progress(case: Case, step: str, around: Surroundings) -> list[Json]:
    if step != CANCELED:
        return []
    return [
        _dataset(
            ProcedureStepCancellationDateTime=_moment(changed_at(case), around.zone),
            ReasonForCancellation=last_reason(case)[:10240],
        )
    ]


def _performed(case: Case, step: str, around: Surroundings) -> list[Json]:
    if step not in (IN_PROGRESS, COMPLETED):
        return []
    report = case.get("report") or {}
    expert = [_performer(case, around)] if case.get("expert_name") else []
    done = _dataset(
        ActualHumanPerformersSequence=expert,
        PerformedStationNameCodeSequence=[],
        PerformedProcedureStepStartDateTime=_moment(_step_at(case, "reading") or begun_at(case), around.zone),
        PerformedWorkitemCodeSequence=[_code(*INTERPRETATION)],
        OutputInformationSequence=[_output(case, report, around)] if _is_stored(report) else [],
    )
    if step == COMPLETED and (ended := report.get("issued_at") or _step_at(case, "issued") or changed_at(case)):
        done |= _dataset(PerformedProcedureStepEndDateTime=_moment(ended, around.zone))
    return [done]


def _is_stored(report: Mapping[str, Any]) -> bool:
    outputs = report.get("outputs") or {}
    return bool(outputs.get("stored") and outputs.get("pdf_instance_uid"))


def _step_at(case: Case, state: str) -> str:
    """When the case came into a state last, where its timeline is told."""
    return next((str(step["at"]) for step in reversed(case.get("timeline") or []) if step["state"] == state), "")


def _performers(case: Case, around: Surroundings) -> list[Json]:
    return [_performer(case, around)] if case.get("expert_name") else []


def _performer(case: Case, around: Surroundings) -> Json:
    return _dataset(
        HumanPerformerCodeSequence=[_code(case["expert"], REGION, case["expert_name"])],
        HumanPerformerName=_name(case["expert_name"]),
        HumanPerformerOrganization=_line(around.hospital(case.get("expert_hospital") or case["consultant_hospital"])),
    )


def _input(study: Mapping[str, str], around: Surroundings) -> Json:
    address = f"{around.root}/dicomweb/hospitals/{study['holder']}/studies/{study['study_uid']}"
    return _dataset(
        TypeOfInstances="DICOM",
        StudyInstanceUID=study["study_uid"],
        WADORSRetrievalSequence=[_dataset(RetrieveURL=address)],
    )


def _output(case: Case, report: Mapping[str, Any], around: Surroundings) -> Json:
    pdf = _dataset(
        ReferencedSOPClassUID=ENCAPSULATED_PDF, ReferencedSOPInstanceUID=report["outputs"]["pdf_instance_uid"]
    )
    return _input(case["studies"][0], around) | _dataset(ReferencedSOPSequence=[pdf])


def _request(case: Case, study: Mapping[str, str], around: Surroundings) -> Json:
    """Why this study is to be read: what the applicant wrote."""
    return _dataset(
        StudyInstanceUID=study["study_uid"],
        AccessionNumber=None,
        PlacerOrderNumberImagingServiceRequest=case["number"],
        FillerOrderNumberImagingServiceRequest=None,
        RequestedProcedureID=case["number"],
        RequestedProcedureDescription=_line("、".join(case.get("examination_items") or ())) or LABEL,
        RequestedProcedureCodeSequence=[_code(*INTERPRETATION)],
        ReasonForTheRequestedProcedure=_line(str(case.get("purpose") or "")),
        RequestedProcedureComments="\n".join([str(case.get("purpose") or ""), *(case.get("questions") or ())]),
        RequestingService=_line(around.hospital(case["applicant_hospital"])),
        RequestingPhysician=_name(case.get("applicant_name")),
    )


def _code(value: str, scheme: str, meaning: str) -> Json:
    """An item of a code sequence (PS3.3 Table 8.8-1)."""
    keyword = "CodeValue" if len(value) <= 16 else "LongCodeValue"
    return _dataset(**{keyword: value}, CodingSchemeDesignator=scheme, CodeMeaning=_line(meaning))


def _line(text: str) -> str:
    """A value of LO: one line of at most 64 characters, without the sign that parts values."""
    return " ".join(text.replace("\\", "/").split())[:64]


def _name(text: str | None) -> Json | None:
    """A PN value: Chinese as the ideographic group, anything else as the alphabetic one."""
    if not text:
        return None
    return {"Ideographic" if any(ord(one) > 0x2E7F for one in text) else "Alphabetic": text}


def _moment(text: str, zone: tzinfo) -> str | None:
    """DT with the region's offset."""
    return datetime.fromisoformat(text).astimezone(zone).strftime("%Y%m%d%H%M%S%z") if text else None


def _dataset(**values: Any) -> Json:
    """Keywords and values as DICOM JSON (PS3.18 F.2); nothing and empty texts are attributes without a value."""
    found: Json = {}
    for keyword, value in values.items():
        tag = tag_of(keyword)
        assert tag is not None, keyword
        filled = value if isinstance(value, list) else [value] if value not in (None, "") else []
        found[tag] = {"vr": vr_of(tag), "Value": filled} if filled else {"vr": vr_of(tag)}
    return dict(sorted(found.items()))
