"""Who calls: the verified claims of a request's bearer token (RFC 6750), the same answers in every service."""

import httpx
from fastapi import Request

from imaging_common.auth import Claims, InvalidToken, TokenVerifier
from imaging_common.http.problems import Problem


async def bearer_claims(request: Request, verifier: TokenVerifier) -> Claims:
    """The caller's claims.

    Raises
    ------
    Problem
        401 without a token, or with one that does not hold (its cause is `InvalidToken`); 503 while the identity
        provider cannot be asked for its keys.
    """
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Problem(401, "a bearer token is needed", headers={"WWW-Authenticate": "Bearer"})
    try:
        return await verifier.verify(token)
    except InvalidToken as error:
        headers = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
        raise Problem(401, str(error), headers=headers) from error
    except httpx.HTTPError as error:
        raise Problem(503, "the identity provider does not answer; try again") from error
