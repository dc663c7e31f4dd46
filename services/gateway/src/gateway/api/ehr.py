"""What the EHR, as a system, tells the portal, and what it is told when it asks: its feed."""

from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from gateway.api.portal import Portal, identity_of
from gateway.errors import SystemsRefused
from imaging_common.audit import who
from imaging_common.http import Access, Problem, access

EHR_ROLE = "ehr"
EHR_USER = "ehr-"
"""Before the organisation's name in its account's."""
RESIDENT = r"^[0-9A-Za-z._-]{1,64}$"


def build_ehr(portal: Portal) -> APIRouter:
    """`POST /ehr/records/{resident}/opened` and `GET /ehr/events`."""
    router = APIRouter()

    @router.post("/ehr/records/{resident}/opened", status_code=202, openapi_extra=access(Access.EHR))
    async def record_opened(request: Request, resident: Annotated[str, Path(pattern=RESIDENT)]) -> Response:
        """Somebody opens a resident's record: have the most recent studies at hand. It opens no image to anybody."""
        identity = identity_of(request)
        if identity.session is not None or EHR_ROLE not in identity.claims.roles:
            await portal.audit.record(
                action="retrieve",
                outcome="denied",
                reason="role-without-records",
                count=0,
                resident_id=resident,
                **who(identity.claims),
            )
            raise HTTPException(403, "only an EHR's own account may say that a record was opened")
        asked = await portal.prefetch.record(resident)
        await portal.audit.record(
            action="retrieve",
            outcome="success",
            reason="record-opened",
            count=asked,
            resident_id=resident,
            source=identity.claims.user,
            **who(identity.claims),
        )
        return Response(status_code=202)

    @router.get("/ehr/events", openapi_extra=access(Access.EHR))
    async def events(
        request: Request,
        after: Annotated[str, Query(max_length=20)] = "",
        since: Annotated[str, Query(max_length=40)] = "",
        limit: Annotated[str, Query(max_length=5)] = "",
    ) -> Any:
        """The feed of the EHR's organisation from a number or a time on: `{events, next, oldest, newest}`.

        The notification service answers, with the caller's own token; what it may not see it is refused there.
        """
        identity = identity_of(request)
        organisation = identity.claims.user.removeprefix(EHR_USER)
        if identity.session is not None or EHR_ROLE not in identity.claims.roles or not organisation.isascii():
            raise HTTPException(403, "only an EHR's own account reads its feed")
        asked = {name: text for name, text in (("after", after), ("since", since), ("limit", limit)) if text}
        try:
            return await portal.systems.ask(
                request.headers["authorization"].partition(" ")[2].strip(),
                "GET",
                f"/feeds/{quote(organisation, safe='')}/events",
                params=asked,
            )
        except SystemsRefused as refused:
            raise Problem(refused.status, refused.detail, **_members(refused)) from refused

    return router


def _members(refused: SystemsRefused) -> dict[str, Any]:
    """What the problem document says besides what every one has."""
    return {name: value for name, value in refused.members.items() if name not in ("type", "title", "status")}
