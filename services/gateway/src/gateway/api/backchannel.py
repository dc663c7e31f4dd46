"""The provider says that somebody signed out, or was signed out (OpenID Connect Back-Channel Logout 1.0)."""

from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from fastapi.responses import Response

from gateway.api.portal import Portal
from gateway.errors import SignInFailed
from imaging_common.http import Access, Problem, access

MAX_BYTES = 32_768


def build_backchannel(portal: Portal) -> APIRouter:
    """`POST /auth/backchannel-logout`, from the provider's server."""
    router = APIRouter()

    @router.post("/auth/backchannel-logout", openapi_extra=access(Access.PUBLIC))
    async def backchannel_logout(request: Request) -> Response:
        """End the sessions that the logout token names: 200 when none of them is left, 400 when it does not hold."""
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BYTES:
                raise Problem(413, "a logout token is not so long")
        tokens = parse_qs(body.decode("latin-1"), max_num_fields=8).get("logout_token", [])
        try:
            if len(tokens) != 1:
                raise SignInFailed("there is no logout token")
            await portal.sign_in.ended_by_provider(tokens[0])
        except (SignInFailed, ValueError) as error:
            raise Problem(400, str(error)) from error
        portal.authenticator.forget_subjects()
        return Response(status_code=200, headers={"Cache-Control": "no-store"})

    return router
