"""HTTP in: `GET /consults/icd10?q=`, for whoever writes an application."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel

from consult.icd10.catalogue import Icd10
from imaging_common.auth import Claims, TokenVerifier
from imaging_common.http import Access, access, bearer_claims


class FoundCode(BaseModel):
    """One answer."""

    code: str
    zh: str
    en: str


def build_icd10_api(verifier: TokenVerifier) -> APIRouter:
    """The search; the lists are read at the first question, off the loop, and stay in memory."""
    router = APIRouter(prefix="/consults")
    loaded: list[Icd10] = []
    once = asyncio.Lock()

    async def catalogue() -> Icd10:
        async with once:
            if not loaded:
                loaded.append(await asyncio.to_thread(Icd10.load))
        return loaded[0]

    async def person(request: Request) -> Claims:
        return await bearer_claims(request, verifier)

    @router.get("/icd10", openapi_extra=access(Access.AUTHENTICATED))
    async def search(
        _: Annotated[Claims, Depends(person)], q: Annotated[str, Query(max_length=64)] = ""
    ) -> list[FoundCode]:
        """Codes for what was typed, the best first; at most 20."""
        found = await asyncio.to_thread((await catalogue()).search, q)
        return [FoundCode(code=one.code, zh=one.zh, en=one.en) for one in found]

    return router
