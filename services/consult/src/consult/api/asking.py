"""Who asks: the claims of the bearer token, for every router of this service."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Path, Request

from imaging_common.auth import Claims, TokenVerifier
from imaging_common.http import bearer_claims

ConsultId = Annotated[str, Path(max_length=64)]
Asking = Callable[[Request], Awaitable[Claims]]


def asking(verifier: TokenVerifier) -> Asking:
    """A dependency that gives the caller's claims."""

    async def person(request: Request) -> Claims:
        return await bearer_claims(request, verifier)

    return person


def token_of(request: Request) -> str:
    """The caller's own token, to ask another service in their name."""
    return request.headers.get("authorization", "").partition(" ")[2]
