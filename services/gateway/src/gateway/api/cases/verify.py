"""`/verify/{code}`: what the code on a printed report stands for. Public; nothing of the content is told."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from gateway.api.portal import Portal
from gateway.api.windows import Attempts
from gateway.web.render import Renderer
from imaging_common.http import Access, access

MAX_TYPED = 64
MAX_ASKED = 60
"""A minute of one address: a code has 100 bits, but nobody is to try."""


def build_verify(portal: Portal, renderer: Renderer) -> APIRouter:
    """The check of a printed report."""
    router = APIRouter()
    asked = Attempts(MAX_ASKED)

    @router.get("/verify/{code}", openapi_extra=access(Access.PUBLIC))
    async def verify(request: Request, code: str) -> Response:
        """The report's number, version, day and hospital, and whether a later version exists; or that it is unknown."""
        asked.check(request)
        asked.count(request)
        found = await portal.consults.verify(code) if 0 < len(code) <= MAX_TYPED else None
        hospitals = {entry.hospital: entry for entry in await portal.registry.all()}
        return renderer.page(
            request,
            "verify.html",
            status=200 if found else 404,
            code=code[:MAX_TYPED],
            found=found,
            hospitals=hospitals,
        )

    return router
