"""`/consults/{id}/attachments`: raw bodies, streamed both ways."""

from typing import Annotated
from urllib.parse import quote, unquote

from fastapi import APIRouter, Depends, Header, Path, Request
from fastapi.responses import StreamingResponse

from consult.api.answers import answer
from consult.api.asking import ConsultId, asking
from consult.model import Attachment
from consult.usecases.attachments import Attachments, Kind
from imaging_common.auth import Claims, TokenVerifier
from imaging_common.http import Access, access

FileId = Annotated[str, Path(max_length=64)]
MAX_NAME = 200


def build_attachments_api(attachments: Attachments, verifier: TokenVerifier) -> APIRouter:
    """Add, list, read, take back."""
    router = APIRouter(prefix="/consults")
    who = Annotated[Claims, Depends(asking(verifier))]

    @router.post("/{consult_id}/attachments", status_code=201, openapi_extra=access(Access.CASE))
    async def add(
        consult_id: ConsultId,
        claims: who,
        request: Request,
        x_file_name: Annotated[str, Header(max_length=3 * MAX_NAME)] = "",
        kind: Kind = "document",
    ) -> Attachment:
        """Keep a file of at most 20 MB; its name comes percent-encoded (UTF-8)."""
        name = "".join(char for char in unquote(x_file_name) if char.isprintable()).replace("\\", "/")
        name = name.rpartition("/")[2].strip()[:MAX_NAME] or kind
        return await answer(attachments.add(claims, consult_id, kind, name, request.stream()))

    @router.get("/{consult_id}/attachments", openapi_extra=access(Access.CASE))
    async def listed(consult_id: ConsultId, claims: who) -> list[Attachment]:
        """What files the case has."""
        return await answer(attachments.of_case(claims, consult_id))

    @router.get("/{consult_id}/attachments/{file_id}", openapi_extra=access(Access.CASE))
    async def read(consult_id: ConsultId, file_id: FileId, claims: who) -> StreamingResponse:
        """A file's bytes."""
        found, chunks = await answer(attachments.read(claims, consult_id, file_id))
        headers = {
            "Content-Disposition": f"inline; filename*=UTF-8''{quote(found.name, safe='')}",
            "Content-Length": str(found.size),
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "private, no-store",
        }
        return StreamingResponse(chunks, media_type=found.media_type, headers=headers)

    @router.delete("/{consult_id}/attachments/{file_id}", status_code=204, openapi_extra=access(Access.CASE))
    async def delete(consult_id: ConsultId, file_id: FileId, claims: who) -> None:
        """Take one's own file back, while the application is written."""
        await answer(attachments.delete(claims, consult_id, file_id))

    return router
