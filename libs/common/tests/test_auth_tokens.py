"""Tokens of two providers that name things differently; and what no token may claim."""

import time
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from imaging_common.auth import ClaimNames, Claims, InvalidToken, TokenVerifier
from imaging_common.settings import ServiceSettings

KEY = RSAKey.generate_key(2048, {"kid": "k1", "alg": "RS256", "use": "sig"})


class TinyProvider:
    """Discovery, keys, and tokens with whatever claims; its key set lies elsewhere than Keycloak's."""

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer

    def client(self) -> httpx.AsyncClient:
        def answer(request: httpx.Request) -> httpx.Response:
            if request.url.path.endswith("openid-configuration"):
                return httpx.Response(200, json={"issuer": self.issuer, "jwks_uri": f"{self.issuer}/discovery/keys"})
            return httpx.Response(200, json={"keys": [KEY.as_dict(private=False)]})

        return httpx.AsyncClient(transport=httpx.MockTransport(answer))

    def token(self, **claims: Any) -> str:
        common = {"iss": self.issuer, "aud": "imaging-cloud", "exp": int(time.time()) + 60, "sub": "s-1"}
        return jwt.encode({"alg": "RS256", "kid": "k1"}, {**common, **claims}, KEY)


SETTINGS = ServiceSettings(
    oidc_issuer="https://login.example/v2",
    oidc_user_claim="email",
    oidc_roles_claim="realm_access.roles",
    oidc_hospital_claim="https://region.example/hospital",
)
OTHER = TinyProvider("https://login.example/v2")


async def verify(provider: TinyProvider, token: str, names: ClaimNames) -> Claims:
    async with provider.client() as client:
        return await TokenVerifier(provider.issuer, "imaging-cloud", client, names).verify(token)


def names() -> ClaimNames:
    return ClaimNames(SETTINGS.oidc_user_claim, SETTINGS.oidc_roles_claim, SETTINGS.oidc_hospital_claim)


async def test_another_provider_works_by_settings() -> None:
    token = OTHER.token(
        email="chen@tangqiao.example",
        realm_access={"roles": ["doctor", "expert"]},
        roles=["auditor"],
        **{"https://region.example/hospital": ["community"]},
    )
    claims = await verify(OTHER, token, names())
    assert claims == Claims("chen@tangqiao.example", "community", frozenset({"doctor", "expert"}))


@pytest.mark.parametrize(
    ("claims", "roles", "hospital"),
    [
        ({"roles": "doctor expert"}, {"doctor", "expert"}, ""),
        ({"roles": ["doctor"], "hospital": ["community", "secondary"]}, {"doctor"}, ""),
        ({"roles": {"doctor": True}, "hospital": {"id": "community"}}, set(), ""),
        ({"realm_access": {"roles": ["doctor"]}}, set(), ""),
        ({"roles": ["doctor"], "hospital": "community"}, {"doctor"}, "community"),
    ],
)
async def test_what_is_not_said_plainly_gives_no_right(claims: dict[str, Any], roles: set[str], hospital: str) -> None:
    found = await verify(OTHER, OTHER.token(**claims), ClaimNames())
    assert (found.roles, found.hospital, found.user) == (frozenset(roles), hospital, "s-1")


@pytest.mark.parametrize("role", ["launch", "share-link"])
async def test_token_is_refused_when_it_claims_a_role_that_only_the_portal_gives(role: str) -> None:
    with pytest.raises(InvalidToken):
        await verify(OTHER, OTHER.token(roles=["doctor", role]), ClaimNames())


@pytest.mark.parametrize(
    "claims", [{"aud": "another"}, {"iss": "https://evil.example"}, {"exp": 1}, {"aud": ["another", "third"]}]
)
async def test_token_is_refused_when_it_is_foreign_or_old(claims: dict[str, Any]) -> None:
    with pytest.raises(InvalidToken):
        await verify(OTHER, OTHER.token(roles=["doctor"], **claims), ClaimNames())


async def test_settings_name_the_claims() -> None:
    verifier = TokenVerifier.of(SETTINGS)
    assert verifier._names == names()
