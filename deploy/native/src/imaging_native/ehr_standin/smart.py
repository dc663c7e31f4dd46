"""A SMART App Launch authorization server (SMART 2.x, EHR launch), as little as it takes.

Code flow with PKCE S256 for one public client, ES256 id token with `fhirUser`, launch context `patient`. Codes and
launches are single-use and short-lived; they live in memory.
"""

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet

from imaging_native.ehr_standin.residents import Doctor
from imaging_native.ehr_standin.settings import EhrSettings

LAUNCH_SECONDS = 120
CODE_SECONDS = 60
TOKEN_SECONDS = 300
SCOPES = frozenset({"launch", "launch/patient", "openid", "fhirUser", "profile", "patient/*.rs", "patient/*.read",
                    "patient/ImagingStudy.rs", "patient/Patient.rs"})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Context:
    """Who looks at whom, until when it can be used."""

    doctor: Doctor
    resident_id: str
    study_uid: str
    until: float


@dataclass(frozen=True, slots=True)
class Code:
    """What an authorization code stands for."""

    context: Context
    redirect_uri: str
    challenge: str
    nonce: str
    scope: str
    until: float


class SmartServer:
    """Launch tokens, codes and the signing key of one process."""

    def __init__(self, settings: EhrSettings) -> None:
        self._settings = settings
        self._launches: dict[str, Context] = {}
        self._codes: dict[str, Code] = {}
        self._key = ECKey.generate_key("P-256", {"use": "sig", "alg": "ES256", "kid": secrets.token_hex(8)})

    def launch_url(self, doctor: Doctor, resident_id: str, study_uid: str = "") -> str:
        """Where the browser begins: the app's launch address with `iss` and an opaque `launch`."""
        now = time.monotonic()
        self._launches = {key: one for key, one in self._launches.items() if one.until > now}
        launch = secrets.token_urlsafe(24)
        self._launches[launch] = Context(doctor, resident_id, study_uid, now + LAUNCH_SECONDS)
        query = urlencode({"iss": self._settings.fhir_base, "launch": launch})
        return f"{self._settings.portal_url}{self._settings.smart_launch_path}?{query}"

    def configuration(self) -> dict[str, object]:
        """`.well-known/smart-configuration`."""
        own = self._settings.public_url
        return {
            "issuer": self._settings.fhir_base,
            "jwks_uri": f"{own}/smart/jwks",
            "authorization_endpoint": f"{own}/smart/authorize",
            "token_endpoint": f"{own}/smart/token",
            "grant_types_supported": ["authorization_code"],
            "response_types_supported": ["code"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["none"],
            "scopes_supported": sorted(SCOPES),
            "capabilities": ["launch-ehr", "client-public", "sso-openid-connect", "context-ehr-patient",
                             "permission-patient", "permission-v2"],
        }  # fmt: skip

    def keys(self) -> dict[str, object]:
        """The public keys (RFC 7517)."""
        return {"keys": [self._key.as_dict(private=False)]}

    def authorize(self, asked: dict[str, str], user: str) -> str:
        """The address that the browser goes back to, with a code or an error (RFC 6749 §4.1.2).

        Raises
        ------
        ValueError
            The client or its address is not registered: nothing may be sent there.
        """
        redirect = asked.get("redirect_uri", "")
        known = f"{self._settings.portal_url}{self._settings.smart_callback_path}"
        if asked.get("client_id") != self._settings.smart_client_id or redirect != known:
            raise ValueError("the app or its redirect address is not registered here")
        context = self._launches.pop(asked.get("launch", ""), None)
        error = ""
        if asked.get("response_type") != "code":
            error = "unsupported_response_type"
        elif not (_pkce(asked) and asked.get("aud", "").rstrip("/") == self._settings.fhir_base):
            error = "invalid_request"
        elif context is None or context.until < time.monotonic() or context.doctor.user != user:
            error = "access_denied"
        back = {"state": asked.get("state", "")}
        if error or context is None:
            return f"{redirect}?{urlencode({'error': error, **back})}"
        code = secrets.token_urlsafe(32)
        scope = " ".join(name for name in asked.get("scope", "").split() if name in SCOPES)
        self._codes[code] = Code(
            context, redirect, asked["code_challenge"], asked.get("nonce", ""), scope, time.monotonic() + CODE_SECONDS
        )
        return f"{redirect}?{urlencode({'code': code, **back})}"

    def token(self, form: dict[str, str]) -> dict[str, object] | None:
        """The answer to a code, once; None: `invalid_grant`."""
        code = self._codes.pop(form.get("code", ""), None)
        if code is None or code.until < time.monotonic() or form.get("redirect_uri") != code.redirect_uri:
            return None
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if form.get("client_id") != self._settings.smart_client_id or not hmac.compare_digest(
            challenge, code.challenge
        ):
            return None
        doctor = code.context.doctor
        now = int(time.time())
        claims = {
            "iss": self._settings.fhir_base, "sub": doctor.user, "aud": self._settings.smart_client_id,
            "iat": now, "exp": now + TOKEN_SECONDS, "name": doctor.name, "preferred_username": doctor.user,
            "fhirUser": f"{self._settings.fhir_base}/Practitioner/{doctor.user}",
        }  # fmt: skip
        if code.nonce:
            claims["nonce"] = code.nonce
        header = {"alg": "ES256", "kid": str(self._key.kid)}
        answer: dict[str, object] = {
            "access_token": secrets.token_urlsafe(32), "token_type": "Bearer", "expires_in": TOKEN_SECONDS,
            "scope": code.scope, "id_token": jwt.encode(header, claims, KeySet([self._key])),
            "patient": code.context.resident_id, "need_patient_banner": False,
        }  # fmt: skip
        if code.context.study_uid:
            reference = f"ImagingStudy/{code.context.study_uid}"
            answer["fhirContext"] = [{"reference": reference}]
        return answer


def _pkce(asked: dict[str, str]) -> bool:
    return asked.get("code_challenge_method") == "S256" and len(asked.get("code_challenge", "")) == 43


def build_smart(server: SmartServer, user_of: Callable[[Request], str]) -> APIRouter:
    """The authorization server's routes."""
    router = APIRouter()

    @router.get("/fhir/.well-known/smart-configuration")
    async def configuration() -> JSONResponse:
        return JSONResponse(server.configuration())

    @router.get("/smart/jwks")
    async def jwks() -> JSONResponse:
        return JSONResponse(server.keys())

    @router.get("/smart/authorize")
    async def authorize(request: Request) -> Response:
        try:
            back = server.authorize(dict(request.query_params), user_of(request))
        except ValueError as error:
            return JSONResponse({"error": "invalid_request", "error_description": str(error)}, 400)
        return RedirectResponse(back, 303)

    @router.post("/smart/token")
    async def token(
        grant_type: Annotated[str, Form()],
        code: Annotated[str, Form()],
        redirect_uri: Annotated[str, Form()],
        code_verifier: Annotated[str, Form()],
        client_id: Annotated[str, Form()],
    ) -> JSONResponse:
        form = {"code": code, "redirect_uri": redirect_uri, "code_verifier": code_verifier, "client_id": client_id}
        answer = server.token(form) if grant_type == "authorization_code" else None
        headers = {"Cache-Control": "no-store", "Pragma": "no-cache"}
        if answer is None:
            return JSONResponse({"error": "invalid_grant"}, 400, headers=headers)
        return JSONResponse(answer, headers=headers)

    return router
