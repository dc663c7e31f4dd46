"""The OIDC provider by Authlib: discovery, code exchange with PKCE, refresh, sign-out address."""

import time
from typing import Any

import httpx
import httpx2
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from gateway.adapters.logout_token import read_logout
from gateway.errors import ProviderUnavailable, SignInFailed
from gateway.model import ProviderLogout, Tokens
from imaging_common.auth import Claims, InvalidToken, TokenVerifier
from imaging_common.auth.tokens import SIGNATURES

TIMEOUT_SECONDS = 10.0
LOGOUT_TYPE = "logout+jwt"
UI_LOCALES = {"zh": "zh-CN", "en": "en"}


class OidcProvider:
    """`IdentityProvider` for any provider with discovery (OpenID Connect Discovery 1.0)."""

    def __init__(
        self,
        *,
        issuer: str,
        client_id: str,
        client_secret: str,
        public_url: str,
        verifier: TokenVerifier,
        scopes: str = "openid",
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._issuer = issuer
        self._client_id = client_id
        self._client_secret = client_secret
        self._redirect_uri = f"{public_url}/auth/callback"
        self._verifier = verifier
        self._scopes = scopes
        self._transport = transport
        self._metadata: dict[str, Any] | None = None

    async def sign_in_url(self, *, state: str, nonce: str, verifier: str, language: str, again: bool = False) -> str:
        """See `IdentityProvider.sign_in_url` (OpenID Connect Core 1.0 §3.1.2.1)."""
        metadata = await self._discover()
        fresh = {"prompt": "login", "max_age": "0"} if again else {}
        async with self._client() as client:
            url, _ = client.create_authorization_url(
                metadata["authorization_endpoint"],
                state=state,
                nonce=nonce,
                code_verifier=verifier,
                ui_locales=UI_LOCALES.get(language, "en"),
                **fresh,
            )
        return str(url)

    async def exchange(self, code: str, *, verifier: str, nonce: str) -> tuple[Claims, Tokens, float]:
        """See `IdentityProvider.exchange`.

        Raises
        ------
        SignInFailed
            The code, or a token, does not hold.
        ProviderUnavailable
            No answer in time.
        """
        metadata = await self._discover()
        try:
            async with self._client() as client:
                answer = await client.fetch_token(metadata["token_endpoint"], code=code, code_verifier=verifier)
                await self._check_id_token(client, str(answer.get("id_token", "")), nonce)
        except OAuthError as error:
            raise SignInFailed("the provider refused the code") from error
        except httpx2.HTTPError as error:
            raise ProviderUnavailable("the sign-in provider does not answer") from error
        return await self._accept(answer, Tokens("", "", ""))

    async def refresh(self, tokens: Tokens) -> tuple[Claims, Tokens, float] | None:
        """See `IdentityProvider.refresh`."""
        metadata = await self._discover()
        try:
            async with self._client() as client:
                answer = await client.refresh_token(metadata["token_endpoint"], refresh_token=tokens.refresh)
            return await self._accept(answer, tokens)
        except (OAuthError, SignInFailed):
            return None
        except httpx2.HTTPError as error:
            raise ProviderUnavailable("the sign-in provider does not answer") from error

    async def logout_of(self, token: str) -> ProviderLogout:
        """See `IdentityProvider.logout_of`.

        Raises
        ------
        SignInFailed
            The token does not hold.
        ProviderUnavailable
            The provider's keys cannot be fetched.
        """
        metadata = await self._discover()
        try:
            async with httpx2.AsyncClient(timeout=TIMEOUT_SECONDS, transport=self._transport) as client:
                answer = await client.get(metadata["jwks_uri"])
                answer.raise_for_status()
            decoded = jwt.decode(token, KeySet.import_key_set(answer.json()), algorithms=SIGNATURES)
            jwt.JWTClaimsRegistry(
                leeway=30,
                iss={"essential": True, "value": self._issuer},
                aud={"essential": True, "value": self._client_id},
            ).validate(decoded.claims)
        except httpx2.HTTPError as error:
            raise ProviderUnavailable("the sign-in provider does not answer") from error
        except (JoseError, ValueError) as error:
            raise SignInFailed("the logout token does not hold") from error
        if decoded.header.get("typ", LOGOUT_TYPE).lower().removeprefix("application/") not in (LOGOUT_TYPE, "jwt"):
            raise SignInFailed("the token is no logout token")
        return read_logout(decoded.claims, time.time())

    async def end_session_url(self) -> str:
        """See `IdentityProvider.end_session_url`."""
        return str((await self._discover()).get("end_session_endpoint", ""))

    def _client(self) -> AsyncOAuth2Client:
        return AsyncOAuth2Client(
            self._client_id,
            self._client_secret,
            scope=self._scopes,
            redirect_uri=self._redirect_uri,
            code_challenge_method="S256",
            timeout=TIMEOUT_SECONDS,
            transport=self._transport,
        )

    async def _discover(self) -> dict[str, Any]:
        if self._metadata is None:
            try:
                async with httpx2.AsyncClient(timeout=TIMEOUT_SECONDS, transport=self._transport) as client:
                    answer = await client.get(f"{self._issuer}/.well-known/openid-configuration")
                    answer.raise_for_status()
            except httpx2.HTTPError as error:
                raise ProviderUnavailable("the sign-in provider does not answer") from error
            metadata: dict[str, Any] = answer.json()
            if metadata.get("issuer") != self._issuer:
                raise ProviderUnavailable("the provider calls itself otherwise than the settings do")
            self._metadata = metadata
        return self._metadata

    async def _check_id_token(self, client: AsyncOAuth2Client, id_token: str, nonce: str) -> None:
        """OpenID Connect Core 1.0 §3.1.3.7: signature, issuer, audience, expiry and nonce."""
        metadata = await self._discover()
        answer = await client.request("GET", metadata["jwks_uri"], withhold_token=True)
        answer.raise_for_status()
        try:
            token = jwt.decode(id_token, KeySet.import_key_set(answer.json()), algorithms=SIGNATURES)
            jwt.JWTClaimsRegistry(
                leeway=30,
                iss={"essential": True, "value": self._issuer},
                aud={"essential": True, "value": self._client_id},
                exp={"essential": True},
                nonce={"essential": True, "value": nonce},
            ).validate(token.claims)
        except (JoseError, ValueError) as error:
            raise SignInFailed("the ID token does not hold") from error

    async def _accept(self, answer: Any, before: Tokens) -> tuple[Claims, Tokens, float]:
        """Verify the access token as every other service will, and take over what it says."""
        tokens = Tokens(
            access=str(answer["access_token"]),
            refresh=str(answer.get("refresh_token") or before.refresh),
            id=str(answer.get("id_token") or before.id),
        )
        try:
            claims = await self._verifier.verify(tokens.access)
        except InvalidToken as error:
            raise SignInFailed("the access token does not hold") from error
        except httpx.HTTPError as error:
            raise ProviderUnavailable("the provider's keys cannot be fetched") from error
        return claims, tokens, time.time() + float(answer.get("expires_in") or 60)
