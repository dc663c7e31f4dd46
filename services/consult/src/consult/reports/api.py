"""HTTP in: issued versions of a case's report, templates and phrases, and what a verification code stands for."""

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, Path, Query
from fastapi.responses import StreamingResponse

from consult.api.answers import answer
from consult.api.asking import ConsultId, asking
from consult.model import Report
from consult.reports.difference import ReportDifference
from consult.reports.phrases import Phrases
from consult.reports.templates import Template, templates_for
from consult.reports.usecases import Reports, Verified
from consult.reports.verification import MAX_TYPED
from imaging_common.auth import Claims, TokenVerifier
from imaging_common.http import Access, access

MAX_VERSION = 10_000
Version = Annotated[int, Path(ge=1, le=MAX_VERSION)]
Code = Annotated[str, Path(max_length=MAX_TYPED)]
Word = Annotated[str, Query(max_length=64)]


def build_reports_api(reports: Reports, verifier: TokenVerifier) -> APIRouter:
    """`/consults/{id}/reports` and what belongs to writing and checking reports."""
    router = APIRouter(prefix="/consults")
    who = Annotated[Claims, Depends(asking(verifier))]

    @router.get("/verify/{code}", openapi_extra=access(Access.PUBLIC))
    async def verify(code: Code) -> Verified:
        """What the code on a printed report stands for; nothing of the content."""
        return await answer(reports.verify(code))

    @router.get("/templates", openapi_extra=access(Access.AUTHENTICATED))
    async def templates(_: who, modality: Word = "", body_part: Word = "") -> list[Template]:
        """The templates that fit, the most fitting first; without a modality all of them."""
        return templates_for(modality, body_part)

    @router.get("/phrases", openapi_extra=access(Access.AUTHENTICATED))
    async def phrases(claims: who) -> Phrases:
        """One's own phrases."""
        return Phrases(phrases=await answer(reports.phrases(claims)))

    @router.put("/phrases", openapi_extra=access(Access.AUTHENTICATED))
    async def keep_phrases(body: Phrases, claims: who) -> Phrases:
        """Replace one's own phrases."""
        await answer(reports.keep_phrases(claims, body.phrases))
        return body

    @router.get("/{consult_id}/reports", openapi_extra=access(Access.CASE))
    async def versions(consult_id: ConsultId, claims: who) -> list[Report]:
        """All issued versions, the oldest first."""
        return await answer(reports.versions(claims, consult_id))

    @router.get("/{consult_id}/reports/{version}", openapi_extra=access(Access.CASE))
    async def version(consult_id: ConsultId, version: Version, claims: who) -> Report:
        """One version."""
        return await answer(reports.version(claims, consult_id, version))

    @router.get("/{consult_id}/reports/{version}/pdf", openapi_extra=access(Access.EHR_OR_STUDY))
    async def pdf(consult_id: ConsultId, version: Version, claims: who) -> StreamingResponse:
        """The printed version; 404 until it is made."""
        name, chunks = await answer(reports.pdf(claims, consult_id, version))
        headers = {
            "Content-Disposition": f"inline; filename*=UTF-8''{quote(name, safe='')}",
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "private, no-store",
        }
        return StreamingResponse(chunks, media_type="application/pdf", headers=headers)

    @router.get("/{consult_id}/reports/{a}/difference/{b}", openapi_extra=access(Access.CASE))
    async def difference(consult_id: ConsultId, a: Version, b: Version, claims: who) -> ReportDifference:
        """What changed from version `a` to version `b`."""
        return await answer(reports.difference(claims, consult_id, a, b))

    @router.post("/{consult_id}/reports/{version}/retry", openapi_extra=access(Access.CASE))
    async def retry(consult_id: ConsultId, version: Version, claims: who) -> Report:
        """Try at once what failed: making, storing or delivering it."""
        return await answer(reports.retry(claims, consult_id, version))

    return router
