"""Who gets in where: every route of every service, from its OpenAPI document, asked by every kind of user.

A route names its rule (`openapi_extra=access(…)`); `LETS_IN` says whom a rule lets in. Whoever it names must not be
turned away, everybody else must be: a route without a rule, or with a rule that is not listed here, fails.

The study lies at `community`; `doctor.tcm` and the other bystanders have nothing to do with it.
"""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from audit.main import build_app as build_audit
from audit.settings import AuditSettings
from consult.main import build_app as build_consult
from consult.settings import ConsultSettings
from dicom_ingest.main import build_app as build_ingest
from dicom_ingest.settings import Settings as IngestSettings
from gateway.main import build_app as build_gateway
from gateway.settings import GatewaySettings
from imaging_common.http.rules import KEY, Access
from imaging_native.applications import application, of_study
from imaging_native.everybody import MACHINES, Answer, Everybody
from imaging_native.region import Region
from notification.main import build_app as build_notification
from notification.settings import NotificationSettings

OWN, FOREIGN, CASE, LAUNCH, SHARE, GLASS = (
    "own-doctor",
    "foreign-doctor",
    "case-expert",
    "launch",
    "share",
    "broken-glass",
)
OPERATOR, REGION_OPERATOR, COORDINATOR, AUDITOR = "hospital-operator", "region-operator", "coordinator", "auditor"
EHR, EDGE, FOREIGN_EDGE, GATEWAY, NOBODY = "ehr", "edge", "foreign-edge", "gateway-account", "nobody"
READERS = {OWN, FOREIGN, CASE, GLASS}
PEOPLE = READERS | {OPERATOR, REGION_OPERATOR, COORDINATOR, AUDITOR}
PROGRAMS = {EHR, EDGE, FOREIGN_EDGE, GATEWAY}
EVERYBODY = PEOPLE | PROGRAMS | {LAUNCH, SHARE, NOBODY}

LETS_IN: dict[Access, set[str]] = {
    Access.PUBLIC: EVERYBODY,
    Access.AUTHENTICATED: PEOPLE | PROGRAMS,
    Access.SIGNED_IN: PEOPLE,
    Access.IMAGE_ROLES: READERS,
    Access.STUDY: {OWN, CASE, LAUNCH, SHARE, GLASS, EDGE},
    Access.ANNOTATE: {OWN, CASE, GLASS},
    Access.VIEWER: READERS | {LAUNCH, SHARE},
    Access.CASE: {OWN, CASE, COORDINATOR},
    Access.APPLY: {OWN, GLASS},
    Access.UPLOAD: READERS | {OPERATOR},
    Access.HOSPITAL_OPERATOR: {OPERATOR, REGION_OPERATOR},
    Access.REGION_OPERATOR: {REGION_OPERATOR},
    Access.HOSPITAL_STAFF: READERS | {OPERATOR},
    Access.AUDITOR: {AUDITOR},
    Access.EHR: {EHR},
    Access.EHR_OR_STUDY: {EHR, OWN, CASE, GLASS, EDGE},
    Access.EDGE: {EDGE, FOREIGN_EDGE},
    Access.STORE: {EDGE, FOREIGN_EDGE, GATEWAY},
    Access.LOCAL: EVERYBODY,
}
BY_STUDY = {Access.STUDY, Access.ANNOTATE, Access.EHR_OR_STUDY}
NOT_CALLED = {"/auth/logout", "/portal/events"}
"""By whom they let in: the one ends the session that the rest needs, the other never ends."""
BY_PART = {
    ("consult", "/consults/{consult_id}/report/draft"),
    ("consult", "/consults/{consult_id}/attachments"),
    ("consult", "/consults/{consult_id}/attachments/{file_id}"),
    ("consult", "/consults/invitations"),
}
"""Of a case's parties not everyone may: who, is told by consult's own tests. To everybody else it is 404 as ever."""
NO_REPORT = re.compile(r"(/portal)?/consults/\{consult_id\}/(reports|versions)/")
"""The case has no issued report: its versions are 404 to everybody, as consult's own tests tell them apart."""
REVIEW_OF_THE_REGION = "/portal/reports/review"
"""Where the region's operator stands beside a hospital's staff."""
PATIENT = {"patient.identifier": "urn:imaging:resident|{resident}"}
ASKED: dict[tuple[str, str], dict[str, Any]] = {
    ("gateway", "GET /portal/viewing"): {"params": {"study": "{study}"}},
    ("gateway", "GET /portal/reading/facts"): {"params": {"study": "{study}"}},
    ("gateway", "GET /portal/reading/priors"): {"params": {"study": "{study}"}},
    ("gateway", "GET /viewer/series"): {"params": {"study": "{study}", "series": "{series}", "holder": "{holder}"}},
    ("gateway", "GET /dicomweb/studies"): {"params": {"StudyInstanceUID": "{study}"}},
    ("gateway", "GET /dicomweb/series"): {"params": {"StudyInstanceUID": "{study}"}},
    ("gateway", "GET /dicomweb/instances"): {"params": {"StudyInstanceUID": "{study}"}},
    ("gateway", "GET /fhir/R4/ImagingStudy"): {"params": PATIENT},
    ("gateway", "POST /fhir/R4/ImagingStudy/_search"): {"data": PATIENT},
    ("gateway", "GET /fhir/R4/ImagingStudy/$recent-examinations"): {"params": PATIENT},
    ("gateway", "POST /fhir/R4/ImagingStudy/$recent-examinations"): {"data": PATIENT},
    ("gateway", "GET /fhir/R4/DiagnosticReport"): {"params": PATIENT},
    ("gateway", "POST /fhir/R4/DiagnosticReport/_search"): {"data": PATIENT},
    ("gateway", "GET /fhir/R4/Patient"): {"params": {"identifier": "urn:imaging:resident|{resident}"}},
    ("gateway", "POST /fhir/R4/Patient/_search"): {"data": {"identifier": "urn:imaging:resident|{resident}"}},
    ("gateway", "POST /portal/consults/{consult_id}/{action}"): {"data": {"version": "99"}},
    ("gateway", "GET /ehr/events"): {"params": {"after": "0"}},
    ("notification", "GET /feeds/{organisation}/events"): {"params": {"after": "0"}},
    ("consult", "GET /consults"): {"params": {"box": "received"}},
    ("consult", "POST /consults"): {"json": application(studies=[of_study("{study}", "community")])},
    ("consult", "PUT /consults/{consult_id}/application"): {
        "json": {"revision": 99, "application": application(studies=[of_study("{study}", "community")])}
    },
    ("consult", "PUT /consults/{consult_id}/report/draft"): {"json": {"revision": 99, "text": {"findings": "-"}}},
    ("consult", "POST /consults/{consult_id}/comments"): {"json": {"text": "-"}},
    ("consult", "POST /consults/{consult_id}/attachments"): {"content": b"%PDF-1.7"},
    ("consult", "POST /consults/{consult_id}/{action}"): {"json": {"version": 99}},
    ("consult", "PUT /consults/phrases"): {"json": {"phrases": []}},
    ("consult", "PUT /consults/routing"): {"json": {"revision": 99999, "rows": []}},
    ("consult", "POST /consults/routing/try"): {"json": {"case": {"level": "community"}}},
    ("consult", "PUT /consults/experts"): {"json": {"revision": 99999, "experts": []}},
    ("consult", "PUT /consults/policies/{hospital}"): {"json": {"revision": 99999}},
    ("consult", "POST /consults/invitations"): {
        "json": {"consult_id": "{consult_id}", "email": "matrix@clinic.example", "name": "Matrix"}
    },
    ("consult", "POST /consults/reports/search"): {
        "json": {"studies": [{"study_uid": "{study}", "holder": "community"}]}
    },
}
"""What a request needs besides its address, so that nothing but the access rule stands in its way."""


@dataclass(frozen=True)
class Route:
    """One operation of one service."""

    service: str
    method: str
    path: str
    rule: Access

    def __str__(self) -> str:
        return f"{self.service} {self.method} {self.path}"

    def address(self, values: dict[str, str]) -> str:
        """With the study's names in it."""
        return re.sub(r"\{(\w+)(?::path)?\}", lambda name: values.get(name[1], "none"), self.path)

    def more(self, values: dict[str, str]) -> dict[str, Any]:
        """The query or body that goes with it."""
        return dict(_filled(ASKED.get((self.service, f"{self.method} {self.path}"), {}), values))

    @property
    def names_study(self) -> bool:
        """Whether its address says which study."""
        return any(name in self.path for name in ("{study}", "{study_uid}"))

    @property
    def tells(self) -> bool:
        """Whether its answer shows the study to who may see it: reports, of which there are none, show nothing."""
        return not any(part in self.path for part in ("eport", "Patient", "Binary", "priors", "{sha256}"))


def _filled(value: Any, values: dict[str, str]) -> Any:
    if isinstance(value, str):
        return re.sub(r"\{(\w+)\}", lambda name: values[name[1]], value)
    if isinstance(value, dict):
        return {key: _filled(one, values) for key, one in value.items()}
    return [_filled(one, values) for one in value] if isinstance(value, list) else value


def routes() -> list[Route]:
    """Of every service that answers anybody; the others have health and metrics only."""
    secret = SecretStr("x" * 32)
    apps: dict[str, FastAPI] = {
        "gateway": build_gateway(GatewaySettings(session_secret=secret)),
        "consult": build_consult(ConsultSettings()),
        "audit": build_audit(AuditSettings()),
        "dicom-ingest": build_ingest(IngestSettings()),
        "notification": build_notification(NotificationSettings()),
    }
    found = []
    for service, app in apps.items():
        for path, operations in app.openapi()["paths"].items():
            for method, operation in operations.items():
                found.append(Route(service, method.upper(), path, Access(operation[KEY])))
    return found


def lets_in(route: Route) -> set[str]:
    """Whom the route must not turn away."""
    who = LETS_IN[route.rule]
    if route.service != "gateway":
        return who - {LAUNCH, SHARE}  # Sessions of the portal; other services know tokens only.
    if route.path.startswith(REVIEW_OF_THE_REGION):
        who = who | {REGION_OPERATOR}
    if route.rule in (Access.PUBLIC, Access.AUTHENTICATED) or route.path.startswith(MACHINES):
        return who
    return who - PROGRAMS


@pytest.fixture(scope="module")
async def people(region: Region, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Everybody]:
    """Everybody, and the study."""
    async with Everybody(region, Path(tmp_path_factory.mktemp("matrix"))) as people:
        yield people


@pytest.mark.parametrize("route", routes(), ids=str)
async def test_route_lets_in_whom_its_rule_names_and_nobody_else(people: Everybody, route: Route) -> None:
    wrong = []
    allowed = lets_in(route)
    for kind in sorted(EVERYBODY):
        asks = people.asks.get((route.service, kind))
        if asks is None or (kind in allowed and route.path in NOT_CALLED):
            continue
        answer = await asks(route.method, route.address(people.values), **route.more(people.values))
        let_in = is_let_in(route, answer)
        if let_in is not None and let_in != (kind in allowed):
            wrong.append(f"{kind}: {answer.status_code} {answer.headers.get('location', '')}")
    assert not wrong, f"{route} ({route.rule}): {'; '.join(wrong)}"


def is_let_in(route: Route, answer: Answer) -> bool | None:
    """Not refused, not sent to the sign-in, and shown the study where the rule is about it; None: it cannot be told."""
    if answer.status_code == 403 and (route.service, route.path) in BY_PART:
        return None
    if answer.status_code == 404 and NO_REPORT.match(route.path):
        return None
    if answer.status_code in (401, 403):
        return False
    if answer.status_code in (302, 303) and re.search(r"/auth/login|/portal/welcome", answer.headers["location"]):
        return False
    if answer.status_code == 404 and (route.rule is Access.CASE or (route.names_study and route.rule in BY_STUDY)):
        return False
    if route.rule is Access.CASE and "{consult_id}" not in route.path:
        return True if answer.names_study else None
    if route.rule in BY_STUDY and not route.names_study:
        return True if answer.names_study else False if route.tells and route.rule is not Access.ANNOTATE else None
    return True


def test_every_rule_says_whom_it_lets_in() -> None:
    assert set(LETS_IN) == set(Access)
