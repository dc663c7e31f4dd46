"""The CapabilityStatement: what this server can do, made of the same names that the routes use."""

from datetime import UTC, datetime
from typing import Any

from fhir.resources.R4B.capabilitystatement import CapabilityStatement

from gateway.fhir.names import BASE, VERSION
from gateway.fhir.reports import REPORT_PARAMETERS
from gateway.fhir.studies import INCLUDE_ENDPOINT, STUDY_PARAMETERS
from gateway.fhir.tasks import INCLUDE_FOCUS, REQUEST_PARAMETERS, TASK_PARAMETERS

_TYPES = {
    **dict.fromkeys(("patient", "focus", "owner", "requester", "performer"), "reference"),
    **dict.fromkeys(("started", "_lastUpdated", "authored", "authored-on", "modified"), "date"),
}
"""Of search parameters; every other is a token."""
ENDPOINT_PARAMETERS = ("_id", "connection-type", "status")
PATIENT_PARAMETERS = ("identifier",)
STARTED = datetime.now(UTC)


def capability(root: str) -> CapabilityStatement:
    """Of the server at the portal's public address."""
    studies = _resource("ImagingStudy", STUDY_PARAMETERS)
    studies["searchInclude"] = [INCLUDE_ENDPOINT]
    studies["operation"] = [
        {"name": "recent-examinations", "definition": f"{root}{BASE}/OperationDefinition/recent-examinations"}
    ]
    tasks = _resource("Task", TASK_PARAMETERS)
    tasks["searchInclude"] = [INCLUDE_FOCUS]
    body = {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": STARTED.isoformat(timespec="seconds"),
        "kind": "instance",
        "software": {"name": "imaging-cloud gateway"},
        "implementation": {"description": "Regional imaging cloud", "url": root + BASE},
        "fhirVersion": VERSION,
        "format": ["application/fhir+json", "json"],
        "rest": [
            {
                "mode": "server",
                "security": {
                    "cors": False,
                    "description": "OAuth 2.0 client credentials with role `ehr`, or a person's token or session.",
                },
                "resource": [
                    studies,
                    _resource("DiagnosticReport", REPORT_PARAMETERS),
                    tasks,
                    _resource("ServiceRequest", REQUEST_PARAMETERS),
                    _resource("Endpoint", ENDPOINT_PARAMETERS),
                    _resource("Patient", PATIENT_PARAMETERS),
                    {"type": "Binary", "interaction": [{"code": "read"}]},
                ],
            }
        ],
    }
    return CapabilityStatement.model_validate(body)


def _resource(kind: str, parameters: tuple[str, ...]) -> dict[str, Any]:
    return {
        "type": kind,
        "interaction": [{"code": "read"}, {"code": "search-type"}],
        "searchParam": [{"name": name, "type": _TYPES.get(name, "token")} for name in parameters],
    }
