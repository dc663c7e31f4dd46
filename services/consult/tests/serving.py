"""One router of the service over HTTP, without servers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from fastapi import APIRouter, FastAPI

from consult.settings import ConsultSettings
from imaging_common.auth import Claims, InvalidToken, TokenVerifier
from imaging_common.http import create_app


class Tokens(TokenVerifier):
    """Takes these names as tokens."""

    def __init__(self, **people: Claims) -> None:
        super().__init__("https://id.example", "imaging-cloud")
        self._people = people

    async def verify(self, token: str) -> Claims:
        if token not in self._people:
            raise InvalidToken("the token's signature does not verify")
        return self._people[token]


@asynccontextmanager
async def served(router: APIRouter) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an app that has this router."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield

    app = create_app("consult", ConsultSettings(), lifespan=lifespan, checks={})
    app.include_router(router)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://consult") as client:
        yield client


def bearer(token: str) -> dict[str, str]:
    """The header."""
    return {"Authorization": f"Bearer {token}"}
