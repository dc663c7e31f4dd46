"""The issued versions of a report: what each says, what changed, what was made of it and where that went."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from gateway.api.cases.editor import listed
from gateway.api.cases.files import MAX_VERSION
from gateway.api.cases.frame import CaseFrame, known_id
from imaging_common.http import Access, access


def build_versions(frame: CaseFrame) -> APIRouter:
    """`/portal/consults/{consult_id}/versions`."""
    router = APIRouter()
    consults = frame.portal.consults

    @router.get("/{consult_id}/versions", openapi_extra=access(Access.CASE))
    async def versions(request: Request, consult_id: str) -> Response:
        """All of them, the newest first, with what each changed of the one before."""
        token, consult = frame.token(request), await frame.load(request, consult_id)
        found = listed(await frame.asked(consults.read(token, f"{consult_id}/reports")), "reports")
        shown: list[dict[str, Any]] = sorted(found, key=lambda one: -int(one["version"]))
        changes = {}
        for one in shown:
            number = int(one["version"])
            if number > 1:
                path = f"{consult_id}/reports/{number - 1}/difference/{number}"
                changes[number] = await frame.asked(consults.read(token, path))
        return await frame.page(request, "case_versions.html", consult, versions=shown, changes=changes)

    @router.post("/{consult_id}/versions/{version}/again", openapi_extra=access(Access.CASE))
    async def again(request: Request, consult_id: str, version: int) -> Response:
        """Try once more what failed: making, storing or delivering it."""
        if not 1 <= version <= MAX_VERSION:
            raise HTTPException(404)
        known_id(consult_id)

        async def act() -> None:
            await consults.send(frame.token(request), f"{consult_id}/reports/{version}/retry", {})

        return await frame.after(request, consult_id, act, {}, "again")

    return router
