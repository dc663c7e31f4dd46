"""The discussion in a case: comments with people they address and images they point at."""

import re
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from gateway.api.cases.frame import CaseFrame
from gateway.api.forms import field, fields
from gateway.errors import ConsultRefused
from gateway.web.render import wants_fragment
from imaging_common.http import Access, access
from imaging_common.ids import is_uid

MAX_MENTIONS = 20
_FRAME = re.compile(r"[1-9]\d{0,5}")


def build_discussion(frame: CaseFrame) -> APIRouter:
    """`/portal/consults/{consult_id}/discussion`."""
    router = APIRouter()
    consults = frame.portal.consults

    async def shown(request: Request, consult_id: str, *, status: int = 200, problem: str = "") -> Response:
        consult = await frame.load(request, consult_id)
        found = await frame.asked(consults.read(frame.token(request), f"{consult_id}/comments"))
        comments = found["comments"] if isinstance(found, dict) else found
        return await frame.page(
            request, "_case_discussion.html", consult, status=status, comments=comments, problem=problem
        )

    @router.get("/{consult_id}/discussion", openapi_extra=access(Access.CASE))
    async def discussion(request: Request, consult_id: str) -> Response:
        """The comments, the oldest first."""
        return await shown(request, consult_id)

    @router.post("/{consult_id}/discussion", openapi_extra=access(Access.CASE))
    async def comment(request: Request, consult_id: str) -> Response:
        """Add a comment."""
        consult = await frame.load(request, consult_id)
        body: dict[str, Any] = {
            "text": (await field(request, "text"))[:4000],
            "mentions": (await fields(request, "mention"))[:MAX_MENTIONS],
            "key_image": await key_image(request, consult),
        }
        try:
            await frame.asked(consults.send(frame.token(request), f"{consult_id}/comments", body))
        except ConsultRefused:
            return await shown(request, consult_id, status=422, problem="case.comment.refused")
        if not wants_fragment(request):
            return RedirectResponse(f"/portal/consults/{consult_id}#discussion", 303)
        return await shown(request, consult_id)

    return router


async def key_image(request: Request, consult: dict[str, Any]) -> dict[str, Any] | None:
    """The image that the form points at, if it is one of the case's studies."""
    study, series, instance = [await field(request, f"image_{name}") for name in ("study", "series", "instance")]
    holders = {one["study_uid"]: one["holder"] for one in consult.get("studies", [])}
    if study not in holders or not (is_uid(series) and is_uid(instance)):
        return None
    number = await field(request, "image_frame")
    return {
        "study_uid": study,
        "holder": holders[study],
        "series_uid": series,
        "instance_uid": instance,
        "frame": int(number) if _FRAME.fullmatch(number) else 1,
        "note": "",
    }
