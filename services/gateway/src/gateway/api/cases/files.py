"""The files of a case: attachments, and the PDF of each issued version. What people sent is never part of our site."""

import re

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse
from starlette.exceptions import HTTPException

from gateway.api.cases.frame import CaseFrame, known_id
from gateway.api.reports import PDF_HEADERS
from imaging_common.http import Access, access

SHOWN = {"image/png": "png", "image/jpeg": "jpg"}
"""Pictures are shown; everything else is saved."""
SAVED = {"application/pdf": "pdf", **SHOWN}
_FILE = re.compile(r"[0-9A-Za-z-]{1,64}")
MAX_VERSION = 10_000


def build_files(frame: CaseFrame) -> APIRouter:
    """Attachments and PDFs, streamed."""
    router = APIRouter()

    @router.get("/{consult_id}/attachments/{file}", openapi_extra=access(Access.CASE))
    async def attachment(request: Request, consult_id: str, file: str) -> Response:
        """One attachment."""
        if not _FILE.fullmatch(file):
            raise HTTPException(404)
        path = f"{known_id(consult_id)}/attachments/{file}"
        return await answer(request, path, f"attachment-{file[:8]}")

    @router.get("/{consult_id}/reports/{version}/pdf", openapi_extra=access(Access.CASE))
    async def pdf(request: Request, consult_id: str, version: int) -> Response:
        """The printed report of one version."""
        if not 1 <= version <= MAX_VERSION:
            raise HTTPException(404)
        consult = await frame.load(request, consult_id)
        path = f"{consult_id}/reports/{version}/pdf"
        return await answer(request, path, f"{consult['number']}-{version}", ours=True)

    async def answer(request: Request, path: str, name: str, *, ours: bool = False) -> Response:
        got = await frame.asked(frame.portal.consults.file(frame.token(request), path))
        media_type = got.media_type.split(";")[0].strip()
        ending = SAVED.get(media_type)
        if ending is None:
            raise HTTPException(404)
        way = "inline" if ours or media_type in SHOWN else "attachment"
        headers = PDF_HEADERS | {"Content-Disposition": f'{way}; filename="{name}.{ending}"'}
        if ours:  # made by our own service; a sandbox would keep the browser's PDF viewer out
            headers |= {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
        return StreamingResponse(got.chunks, media_type=media_type, headers=headers)

    return router
