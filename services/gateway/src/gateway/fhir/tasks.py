"""`Task` and `ServiceRequest`: the cases that the asker has a part in, for a hospital's own systems."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from fastapi import Request
from starlette.exceptions import HTTPException

from gateway.api.portal import identity_of
from gateway.fhir.bundles import searchset
from gateway.fhir.case_resources import (
    CODE,
    CODE_SYSTEM,
    PRIORITIES,
    REQUEST_STATES,
    TASK_CODE,
    TASK_STATES,
    CaseWriter,
    holder_of,
    request_status,
)
from gateway.fhir.desk import NOT_FOUND, Desk, Somebody, token_of
from gateway.fhir.moments import fits_moment
from gateway.fhir.names import CONSULT_SYSTEM, HOSPITAL_SYSTEM
from gateway.fhir.outcome import FhirError
from gateway.fhir.parameters import Search, Token
from gateway.workitems.cases import Case, CaseLists, TooManyCases, begun_at, changed_at

TASK_PARAMETERS = ("_id", "_lastUpdated", "authored-on", "business-status", "code", "focus", "identifier", "modified",
                   "owner", "patient", "priority", "requester", "status")  # fmt: skip
REQUEST_PARAMETERS = ("_id", "_lastUpdated", "authored", "code", "identifier", "patient", "performer", "priority",
                      "requester", "status")  # fmt: skip
REFERENCES = ("owner", "requester", "performer")
"""Organizations: by identifier (`owner:identifier=urn:imaging:hospital|<id>`), or their id as a reference."""
TASK_SORTS = ("authored-on", "-authored-on", "_lastUpdated", "-_lastUpdated")
REQUEST_SORTS = ("authored", "-authored", "_lastUpdated", "-_lastUpdated")
INCLUDE_FOCUS = "Task:focus"
ALL_STATES = frozenset(TASK_STATES)


def known(parameters: Sequence[str]) -> tuple[str, ...]:
    """The parameters with the ways in which references are named by identifier."""
    return (*parameters, *(f"{name}:identifier" for name in parameters if name in REFERENCES))


class CaseShelf:
    """Answers about cases, read with the asker's own token."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._lists = CaseLists(desk.portal.desk)

    async def tasks(self, request: Request, search: Search) -> Any:
        """A page of tasks; with `_include=Task:focus` what was asked for, too."""
        shown, writer, answer = await self._found(request, search, "Task")
        included = [writer.request(case) for case in shown] if INCLUDE_FOCUS in search.include else []
        return answer([writer.task(case) for case in shown], included)

    async def requests(self, request: Request, search: Search) -> Any:
        """A page of service requests."""
        shown, writer, answer = await self._found(request, search, "ServiceRequest")
        return answer([writer.request(case) for case in shown], [])

    async def task(self, request: Request, consult_id: str) -> Any:
        """One task."""
        case, writer = await self._one(request, consult_id)
        return writer.task(case)

    async def request(self, request: Request, consult_id: str) -> Any:
        """One service request."""
        case, writer = await self._one(request, consult_id)
        return writer.request(case)

    async def _one(self, request: Request, consult_id: str) -> tuple[Case, CaseWriter]:
        token = token_of(request, identity_of(request))
        if not token:
            raise HTTPException(404, NOT_FOUND)
        case = await self._lists.one(token, consult_id)
        return case, await self._writer([case])

    async def _writer(self, cases: Sequence[Case]) -> CaseWriter:
        residents = [(case.get("patient") or {}).get("resident_id") for case in cases]
        return CaseWriter(await self._desk.writer([], [resident for resident in residents if resident]))

    async def _found(
        self, request: Request, search: Search, kind: str
    ) -> tuple[list[Case], CaseWriter, Callable[[list[Any], list[Any]], Any]]:
        """The page's cases, what writes them, and what makes the bundle."""
        somebody = await self._desk.somebody(search)
        identity = identity_of(request)
        states = _states(search, TASK_STATES if kind == "Task" else _REQUESTED)
        try:
            cases = await self._lists.of(token_of(request, identity), identity.claims.roles, states)
        except TooManyCases as error:
            raise FhirError(400, "too-costly", str(error)) from error
        found = [case for case in cases if self._fits(kind, case, search, somebody)]
        if search.sort:
            key = changed_at if "_lastUpdated" in search.sort else begun_at
            found.sort(key=key, reverse=search.sort.startswith("-"))
        shown = found[search.offset : search.offset + search.count]
        await self._desk.searched(request, f"fhir-{kind.lower()}", len(shown), somebody)
        writer = await self._writer(shown)
        patient = self._desk.ids.seal(somebody.resident_id) if somebody and somebody.resident_id else None
        more = search.offset + len(shown) < len(found) and (somebody is None or bool(patient))

        def bundle(resources: list[Any], included: list[Any]) -> Any:
            base = writer.writer.base
            return searchset(
                base, kind, search, resources, patient=patient or "", more=more, total=len(found), included=included
            )

        return shown, writer, bundle

    def _fits(self, kind: str, case: Case, search: Search, somebody: Somebody | None) -> bool:
        if somebody is not None and not _is_of(case, somebody):
            return False
        told: dict[str, list[tuple[str | None, str]]] = {
            "_id": [(None, case["id"])],
            "focus": [(None, f"ServiceRequest/{case['id']}"), (None, case["id"])],
            "identifier": [(CONSULT_SYSTEM, case["number"])],
            "status": [(None, TASK_STATES[case["state"]] if kind == "Task" else request_status(case))],
            "business-status": [(None, case["state"])],
            "priority": [(None, PRIORITIES.get(case.get("urgency", ""), "routine"))],
            "code": [(TASK_CODE, "fulfill") if kind == "Task" else (CODE_SYSTEM, CODE)],
            "owner": _organization(case.get("consultant_hospital")),
            "performer": _organization(case.get("consultant_hospital")),
            "requester": _organization(case["applicant_hospital"]),
        }
        for name, given in search.values.items():
            moment = {"_lastUpdated": changed_at, "modified": changed_at}.get(name)
            if name in ("authored-on", "authored"):
                moment = begun_at
            for values in given:
                if moment is not None:
                    at = datetime.fromisoformat(moment(case)).astimezone(UTC)
                    fitting = any(fits_moment(value, at, self._desk.zone) for value in values)
                else:
                    fitting = any(_named(Token.read(value), told[name.partition(":")[0]]) for value in values)
                if not fitting:
                    return False
        return True


_REQUESTED = {state: REQUEST_STATES.get(state, "active") for state in TASK_STATES}


def _states(search: Search, told: dict[str, str]) -> frozenset[str] | None:
    """The states of cases that fit the statuses asked for; None: any."""
    states = ALL_STATES
    for tokens in search.tokens("status"):
        wanted = {token.code for token in tokens}
        states &= {state for state, status in told.items() if status in wanted}
    for tokens in search.tokens("business-status"):
        states &= {token.code for token in tokens}
    return None if states == ALL_STATES else states


def _is_of(case: Case, somebody: Somebody) -> bool:
    """Whether a case is about somebody: the resident by any id, or a hospital's patient who is linked to none."""
    patient = case.get("patient") or {}
    if somebody.ids:
        return patient.get("resident_id") in somebody.ids
    wanted = somebody.clause
    return bool(wanted.get("patient.id")) and (
        (wanted.get("holder"), wanted["patient.id"]) == (holder_of(case), patient.get("patient_id"))
    )


def _organization(hospital: str | None) -> list[tuple[str | None, str]]:
    return [(HOSPITAL_SYSTEM, hospital), (None, f"Organization/{hospital}")] if hospital else []


def _named(token: Token, told: Sequence[tuple[str | None, str]]) -> bool:
    """Whether a token names one of these; a value without a system is the same in every one."""
    return any(token.code == value and (system is None or token.system in (None, system)) for system, value in told)
