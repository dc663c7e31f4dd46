"""The OIDC adapter against a small provider: PKCE, nonce, signature, refresh, silence."""

import base64
import hashlib
import json
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from gateway.adapters.oidc import OidcProvider
from gateway.errors import ProviderUnavailable, SignInFailed
from gateway.model import ProviderLogout, Tokens
from imaging_common.auth import TokenVerifier

ISSUER = "https://id.example/realms/region"
KEY = RSAKey.generate_key(2048, {"kid": "k1", "alg": "RS256", "use": "sig"})
VERIFIER = "v" * 43


class Provider:
    """Answers discovery, keys and the token endpoint."""

    def __init__(self) -> None:
        self.nonce, self.audience, self.challenge = "n", "portal", ""
        self.refuses = self.silent = False
        self.forms: list[dict[str, list[str]]] = []

    def answer(self, path: str, body: bytes) -> tuple[int, Any]:
        if path.endswith("openid-configuration"):
            base = f"{ISSUER}/protocol"
            return 200, {
                "issuer": ISSUER, "authorization_endpoint": f"{base}/auth", "token_endpoint": f"{base}/token",
                "jwks_uri": f"{base}/certs", "end_session_endpoint": f"{base}/logout",
            }  # fmt: skip
        if path.endswith("certs"):
            return 200, {"keys": [KEY.as_dict(private=False)]}
        form = parse_qs(body.decode())
        self.forms.append(form)
        if self.refuses:
            return 400, {"error": "invalid_grant"}
        common = {"iss": ISSUER, "exp": int(time.time()) + 60, "preferred_username": "doctor.community"}
        access = {**common, "aud": "imaging-cloud", "hospital": "community", "roles": ["doctor"], "name": "陈建国"}
        return 200, {
            "access_token": self._sign(access), "refresh_token": "r2", "expires_in": 60, "token_type": "Bearer",
            "id_token": self._sign({**common, "aud": self.audience, "nonce": self.nonce}),
        }  # fmt: skip

    def _sign(self, claims: dict[str, Any]) -> str:
        return jwt.encode({"alg": "RS256", "kid": "k1"}, claims, KEY)

    def modern(self, request: httpx2.Request) -> httpx2.Response:
        if self.silent:
            raise httpx2.ConnectTimeout("silent", request=request)
        status, body = self.answer(request.url.path, request.content)
        return httpx2.Response(status, content=json.dumps(body), headers={"Content-Type": "application/json"})

    def plain(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=self.answer(request.url.path, request.content)[1])


@pytest.fixture
def provider() -> Provider:
    return Provider()


@pytest.fixture
def adapter(provider: Provider) -> OidcProvider:
    client = httpx.AsyncClient(transport=httpx.MockTransport(provider.plain))
    return OidcProvider(
        issuer=ISSUER,
        client_id="portal",
        client_secret="secret",
        public_url="https://portal.example",
        verifier=TokenVerifier(ISSUER, "imaging-cloud", client),
        transport=httpx2.MockTransport(provider.modern),
    )


async def test_sign_in_address_carries_state_nonce_and_s256_challenge(adapter: OidcProvider) -> None:
    url = await adapter.sign_in_url(state="s", nonce="n", verifier=VERIFIER, language="zh")
    query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    challenge = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
    assert query["code_challenge"] == challenge
    assert query["code_challenge_method"] == "S256"
    assert (query["state"], query["nonce"], query["ui_locales"]) == ("s", "n", "zh-CN")
    assert query["redirect_uri"] == "https://portal.example/auth/callback"
    assert query["response_type"] == "code"


async def test_code_becomes_verified_claims(adapter: OidcProvider, provider: Provider) -> None:
    claims, tokens, expires_at = await adapter.exchange("code", verifier=VERIFIER, nonce="n")
    assert (claims.user, claims.hospital, claims.roles) == ("doctor.community", "community", frozenset({"doctor"}))
    assert tokens.refresh == "r2"
    assert expires_at > time.time()
    assert provider.forms[0]["code_verifier"] == [VERIFIER]


@pytest.mark.parametrize(("field", "value"), [("nonce", "other"), ("audience", "another-client"), ("refuses", True)])
async def test_sign_in_fails_when_the_answer_does_not_hold(
    adapter: OidcProvider, provider: Provider, field: str, value: Any
) -> None:
    setattr(provider, field, value)
    with pytest.raises(SignInFailed):
        await adapter.exchange("code", verifier=VERIFIER, nonce="n")


async def test_refresh_gives_new_tokens_or_none(adapter: OidcProvider, provider: Provider) -> None:
    renewed = await adapter.refresh(Tokens("a", "r1", "id"))
    assert renewed is not None
    assert renewed[1].refresh == "r2"
    assert provider.forms[-1]["refresh_token"] == ["r1"]
    provider.refuses = True
    assert await adapter.refresh(Tokens("a", "r1", "id")) is None


async def test_silent_provider_is_told_from_a_refusal(adapter: OidcProvider, provider: Provider) -> None:
    await adapter.end_session_url()
    provider.silent = True
    with pytest.raises(ProviderUnavailable):
        await adapter.refresh(Tokens("a", "r1", "id"))


def logout_claims(**changed: Any) -> dict[str, Any]:
    claims: dict[str, Any] = {
        "iss": ISSUER,
        "aud": "portal",
        "iat": int(time.time()),
        "jti": "j",
        "sid": "s1",
        "sub": "u1",
        "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
        **changed,
    }
    return {name: value for name, value in claims.items() if value is not None}


async def test_logout_token_says_whose_sessions_have_ended(adapter: OidcProvider, provider: Provider) -> None:
    assert await adapter.logout_of(provider._sign(logout_claims())) == ProviderLogout("s1", "u1")
    assert await adapter.logout_of(provider._sign(logout_claims(sid=None))) == ProviderLogout("", "u1")


@pytest.mark.parametrize(
    "changed",
    [
        {"aud": "another"},
        {"iss": "https://evil.example"},
        {"iat": 1},
        {"iat": None},
        {"exp": 1},
        {"nonce": "n"},
        {"events": None},
        {"events": {"other": {}}},
        {"sid": None, "sub": None},
    ],
)
async def test_logout_token_is_refused_when_it_does_not_hold(
    adapter: OidcProvider, provider: Provider, changed: dict[str, Any]
) -> None:
    with pytest.raises(SignInFailed):
        await adapter.logout_of(provider._sign(logout_claims(**changed)))


async def test_logout_token_of_another_key_is_refused(adapter: OidcProvider) -> None:
    other = RSAKey.generate_key(2048, {"kid": "k1", "alg": "RS256", "use": "sig"})
    with pytest.raises(SignInFailed):
        await adapter.logout_of(jwt.encode({"alg": "RS256", "kid": "k1"}, logout_claims(), other))
