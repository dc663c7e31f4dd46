"""Who gets in where: every route of every service, from its OpenAPI document, asked by every kind of user.

A route names its rule (`openapi_extra=access(…)`); `LETS_IN` says whom a rule lets in. Whoever it names must not be
turned away, everybody else must be: a route without a rule, or with a rule that is not listed here, fails.

The study lies at `community`; `doctor.tcm` and the other bystanders have nothing to do with it.
"""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

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
from imaging_native.everybody import MACHINES, Answer, Everybody
from imaging_native.region import Region

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
    Access.SIGNED_IN: PEOPLE,
    Access.IMAGE_ROLES: READERS,
    Access.STUDY: {OWN, CASE, LAUNCH, SHARE, GLASS, EDGE},
    Access.VIEWER: READERS | {LAUNCH, SHARE},
    Access.CASE: {OWN, CASE},
    Access.HOSPITAL_OPERATOR: {OPERATOR, REGION_OPERATOR},
    Access.REGION_OPERATOR: {REGION_OPERATOR},
    Access.ORDERS: READERS | {OPERATOR},
    Access.UPLOAD: READERS | {OPERATOR},
    Access.AUDITOR: {AUDITOR},
    Access.EHR: {EHR},
    Access.EHR_OR_STUDY: {EHR, OWN, CASE, LAUNCH, GLASS},
    Access.EDGE: {EDGE},
    Access.STORE: {EDGE, GATEWAY},
    Access.LOCAL: EVERYBODY,
}
NOT_CALLED = {"/auth/logout", "/portal/events"}
"""By whom they let in: the one ends the session that the rest needs, the other never ends."""


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

    @property
    def names_study(self) -> bool:
        """Whether its address says which study."""
        return any(name in self.path for name in ("{study}", "{study_uid}"))


def routes() -> list[Route]:
    """Of every service that answers anybody; the others have health and metrics only."""
    secret = SecretStr("x" * 32)
    apps: dict[str, FastAPI] = {
        "gateway": build_gateway(GatewaySettings(session_secret=secret)),
        "consult": build_consult(ConsultSettings()),
        "audit": build_audit(AuditSettings()),
        "dicom-ingest": build_ingest(IngestSettings()),
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
    if route.rule is Access.PUBLIC or route.path.startswith(MACHINES):
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
        answer = await asks(route.method, route.address(people.values))
        turned_away = is_turned_away(route, answer)
        if turned_away == (kind in allowed):
            wrong.append(f"{kind}: {answer.status_code} {answer.headers.get('location', '')}")
    assert not wrong, f"{route} ({route.rule}): {'; '.join(wrong)}"


def is_turned_away(route: Route, answer: Answer) -> bool:
    """Refused, sent to the sign-in, or, in a search over studies, shown nothing of the study."""
    if answer.status_code in (401, 403):
        return True
    if answer.status_code in (302, 303) and "/auth/login" in answer.headers.get("location", ""):
        return True
    if route.rule in (Access.STUDY, Access.EHR_OR_STUDY) and route.method == "GET":
        return answer.status_code == 404 if route.names_study else not answer.names_study
    return answer.status_code == 404 and (route.names_study or route.rule is Access.CASE)


def test_every_rule_says_whom_it_lets_in() -> None:
    assert set(LETS_IN) == set(Access)
