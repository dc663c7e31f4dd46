"""Who asks for what: finds it by the access rule, and records the question before anything is shown.

An EHR's own account (role `ehr`) reads the records of residents: studies that are linked to the resident it names, and
nothing else. People see what the access rule opens to them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from fastapi import Request
from starlette.exceptions import HTTPException

from gateway.api.ehr import EHR_ROLE
from gateway.api.portal import Portal, identity_of
from gateway.dicomweb.access import StudyDoor
from gateway.fhir.names import PATIENT_SYSTEM
from gateway.fhir.outcome import FhirError
from gateway.fhir.parameters import Search, Token, resident_named
from gateway.fhir.resources import Writer
from gateway.fhir.seal import PatientIds
from gateway.model import Identity, study_ref
from imaging_common.access import LAUNCH_ROLE, Action, Grant, GrantKind, Subject, decide
from imaging_common.audit import who
from imaging_common.ids import is_uid
from imaging_common.index.model import StudyDocument

NOT_FOUND = "there is no such resource"
NOBODY: dict[str, Any] = {"_id": {"$in": []}}
MAX_STUDIES = 200
"""Studies of a resident whose reports are looked for."""


@dataclass(frozen=True, slots=True)
class Somebody:
    """Whose records are asked for: the resident (empty: a hospital's patient), every id, and the index clause."""

    resident_id: str
    ids: tuple[str, ...]
    clause: dict[str, Any]


class Desk:
    """What the FHIR routes ask for."""

    def __init__(self, portal: Portal, ids: PatientIds) -> None:
        self.portal = portal
        self.ids = ids
        self.index = portal.index
        self.zone = ZoneInfo(portal.settings.time_zone)
        self._door = StudyDoor(portal.index, portal.audit)

    def is_ehr(self, request: Request) -> bool:
        """Whether an EHR's own account asks."""
        identity = identity_of(request)
        return identity.session is None and EHR_ROLE in identity.claims.roles

    async def somebody(self, search: Search) -> Somebody | None:
        """Whom a search names; None: nobody is named."""
        if not search.patients:
            return None
        if len(search.patients) > 1:
            raise FhirError(400, "too-costly", "name one patient")
        kind, value = search.patients[0]
        if kind == "reference":
            resident = self.ids.open(value.rpartition("/")[2]) or ""
        else:
            token = Token.read(value)
            resident = resident_named(token)
            if not resident and token.system and token.system.startswith(PATIENT_SYSTEM):
                return await self._patient(token.system.removeprefix(PATIENT_SYSTEM), token.code)
        return await self.resident(resident) if resident else Somebody("", (), NOBODY)

    async def resident(self, resident_id: str) -> Somebody:
        """A resident, with every merged id."""
        found = await self.index.resident(resident_id)
        return Somebody(found.id, found.ids, {"resident_id": {"$in": list(found.ids)}})

    async def _patient(self, hospital: str, patient_id: str) -> Somebody:
        """A hospital's patient: the resident that the patient is linked to, where there is one."""
        own = {"holder": hospital, "patient.id": patient_id}
        found = await self.index.recent(own, limit=20)
        linked = next((study.resident_id for study in found if study.resident_id), None)
        return await self.resident(linked) if linked else Somebody("", (), own)

    async def subject(self, request: Request, residents: Sequence[str]) -> Subject:
        """The access rule's subject; an EHR's sees the studies linked to these residents."""
        if not self.is_ehr(request):
            return await self.portal.subject_of(request)
        grant = Grant(None, "ehr-record", kind=GrantKind.LAUNCH, residents=frozenset(residents))
        return Subject(identity_of(request).claims.user, "", frozenset({LAUNCH_ROLE}), (grant,) if residents else ())

    async def subject_for(self, request: Request, somebody: Somebody | None, named: Mapping[str, Any]) -> Subject:
        """The subject of a search; an EHR must name a resident or a study (`named`: its clause)."""
        if not self.is_ehr(request):
            return await self.portal.subject_of(request)
        if somebody is not None:
            return await self.subject(request, somebody.ids)
        if not named:
            await self._record(request, "search", outcome="denied", reason="no-resident-named", count=0)
            raise FhirError(403, "forbidden", "an EHR's account asks for one resident or for named studies")
        found = await self.index.recent(named, limit=MAX_STUDIES)
        return await self.subject(request, sorted({study.resident_id for study in found if study.resident_id}))

    async def opened(self, request: Request, study_uid: str) -> list[StudyDocument]:
        """A study at the holders where the asker may see it; recorded. 404: absent or denied, nobody can tell."""
        if not is_uid(study_uid):
            raise HTTPException(404, NOT_FOUND)
        if not self.is_ehr(request):
            found = await self._door.open(await self.portal.subject_of(request), study_uid, None)
            return list(found.holders)
        documents = await self.index.holders_of(study_uid)
        subject = await self.subject(request, sorted({d.resident_id for d in documents if d.resident_id}))
        seen = [d for d in documents if decide(subject, Action.VIEW, study_ref(d)).allowed]
        for document in seen:
            await self._record(request, "view", study_uid=study_uid, holder=document.holder,
                               resident_id=document.resident_id, reason="ehr-record")  # fmt: skip
        if not seen:
            await self._record(request, "view", outcome="denied", study_uid=study_uid, reason="not-linked")
            raise HTTPException(404, NOT_FOUND)
        return seen

    async def searched(self, request: Request, reason: str, count: int, somebody: Somebody | None) -> None:
        """Record a search."""
        resident = somebody.resident_id if somebody else ""
        await self._record(request, "search", reason=reason, count=count, resident_id=resident or None)

    async def _record(self, request: Request, action: Any, *, outcome: Any = "success", **more: Any) -> None:
        claims = identity_of(request).claims
        await self.portal.audit.record(
            action=action, outcome=outcome, **who(claims),
            source=claims.user if self.is_ehr(request) else "", **more,
        )  # fmt: skip

    async def writer(self, documents: Sequence[StudyDocument], residents_named: Sequence[str] = ()) -> Writer:
        """What turns these documents, and what names these residents, into resources."""
        residents = {document.resident_id for document in documents if document.resident_id} | {*residents_named}
        sealed = {resident: self.ids.seal(resident) for resident in residents}
        hospitals = {entry.hospital: entry for entry in await self.portal.registry.all()}
        settings = self.portal.settings
        known = {resident: patient for resident, patient in sealed.items() if patient}
        return Writer(settings.public_url, self.zone, hospitals, known)

    def today(self) -> date:
        """The day in the region's zone."""
        return datetime.now(self.zone).date()


def token_of(request: Request, identity: Identity) -> str:
    """The asker's access token, for a service behind this one."""
    if identity.session is not None:
        return identity.session.tokens.access
    return request.headers.get("authorization", "").partition(" ")[2].strip()
