"""What the EHR, as a system, tells the portal."""

from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from gateway.api.portal import Portal, identity_of
from imaging_common.audit import who
from imaging_common.http import Access, access

EHR_ROLE = "ehr"
RESIDENT = r"^[0-9A-Za-z._-]{1,64}$"


def build_ehr(portal: Portal) -> APIRouter:
    """`POST /ehr/records/{resident}/opened`."""
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

    return router
