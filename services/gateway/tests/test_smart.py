"""SMART App Launch 2.x: registered servers, PKCE, a verified ID token, and the same window as by a code."""

import base64
import hashlib
import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from gateway.grants.model import Ehr

JSON = {"Accept": "application/dicom+json"}
ISS = "https://ehr.test/fhir"


class SmartServer(httpx.AsyncBaseTransport):
    """The EHR's side: a public client, PKCE S256, an ID token by RS256."""

    def __init__(self) -> None:
        self.key = RSAKey.generate_key(2048, {"kid": "k"})
        self.challenge = self.nonce = ""
        self.context: dict[str, Any] = {"patient": "R-1"}
        self.claims: dict[str, Any] = {}
        self.away = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.away:
            raise httpx.ConnectError("away", request=request)
        if request.url.path.endswith("smart-configuration"):
            return httpx.Response(200, json={
                "issuer": ISS, "jwks_uri": "https://ehr.test/jwks", "code_challenge_methods_supported": ["S256"],
                "authorization_endpoint": "https://ehr.test/authorize", "token_endpoint": "https://ehr.test/token",
            })  # fmt: skip
        if request.url.path == "/jwks":
            return httpx.Response(200, json={"keys": [self.key.as_dict(private=False)]})
        form = {name: values[0] for name, values in parse_qs(request.content.decode()).items()}
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != self.challenge or form["code"] != "good":
            return httpx.Response(400, json={"error": "invalid_grant"})
        claims = {"iss": ISS, "aud": "portal-app", "sub": "u1", "fhirUser": "Practitioner/dr.zhao", "nonce": self.nonce,
                  "exp": int(time.time()) + 60, **self.claims}  # fmt: skip
        token = jwt.encode({"alg": "RS256", "kid": "k"}, claims, self.key)
        return httpx.Response(
            200, json={"access_token": "a", "token_type": "Bearer", "id_token": token, **self.context}
        )


@pytest.fixture
def server() -> SmartServer:
    return SmartServer()


@pytest.fixture
def world(world: Any, server: SmartServer, tmp_path: Path) -> Any:
    """A portal that the EHR knows as `portal-app`."""
    ehr = Ehr(client_id="ehr-residents", origins=["https://ehr.test"], iss=ISS, smart_client_id="portal-app")
    made = type(world)(tmp_path, public_url="https://portal.test", ehrs=[ehr], smart=server)
    made.add_study("1.2.3", "community", resident_id="R-1")
    made.add_study("1.2.4", "tertiary", resident_id="R-1", study_date="20261101")
    return made


async def begin(browser: httpx.AsyncClient, server: SmartServer) -> str:
    """The EHR opens the frame; the state of the authorization request."""
    answer = await browser.get("/smart/launch", params={"iss": ISS, "launch": "opaque"})
    assert answer.status_code == 303
    url = httpx.URL(answer.headers["location"])
    assert (url.host, url.path) == ("ehr.test", "/authorize")
    assert {k: url.params[k] for k in ("client_id", "launch", "aud", "code_challenge_method", "response_type")} == {
        "client_id": "portal-app", "launch": "opaque", "aud": ISS, "code_challenge_method": "S256",
        "response_type": "code",
    }  # fmt: skip
    server.challenge, server.nonce = url.params["code_challenge"], url.params["nonce"]
    return str(url.params["state"])


async def test_launch_opens_the_window_of_the_context_to_the_user(world: Any, server: SmartServer) -> None:
    server.context = {"patient": "R-1", "fhirContext": [{"reference": "ImagingStudy/1.2.4"}]}
    async with world.browser() as frame:
        state = await begin(frame, server)
        page = await frame.get("/smart/callback", params={"state": state, "code": "good"})
        assert page.status_code == 200
        assert "/viewer?StudyInstanceUIDs=1.2.4" in page.text
        assert page.headers["content-security-policy"].endswith("https://ehr.test")
        rows = (await frame.get("/dicomweb/studies", headers=JSON)).json()
        assert len(rows) == 2
        again = await frame.get("/smart/callback", params={"state": state, "code": "good"})
        assert again.status_code == 410
    (grant,) = world.access_grants.grants.values()
    assert (grant.user, grant.resident_id, grant.granted_by, grant.purpose) == (
        "dr.zhao",
        "R-1",
        "ehr-residents",
        "TREAT",
    )


@pytest.mark.parametrize(
    ("claims", "context"),
    [
        ({"aud": "another-app"}, {}),
        ({"iss": "https://evil.test"}, {}),
        ({"nonce": "of another launch"}, {}),
        ({"exp": 1}, {}),
        ({}, {"patient": ""}),
        ({}, {"patient": "../R-1"}),
        ({}, {"id_token": "a.b.c"}),
        ({}, {"id_token": jwt.encode({"alg": "RS256"}, {"iss": ISS}, RSAKey.generate_key(2048))}),
    ],
)
async def test_answer_that_does_not_hold_opens_nothing(
    world: Any, server: SmartServer, claims: dict[str, Any], context: dict[str, Any]
) -> None:
    server.claims, server.context = claims, server.context | context
    async with world.browser() as frame:
        state = await begin(frame, server)
        answer = await frame.get("/smart/callback", params={"state": state, "code": "good"})
    assert answer.status_code == 403
    assert world.access_grants.grants == {}
    assert world.audited[-1].outcome == "denied"


async def test_unregistered_server_is_never_asked(world: Any, server: SmartServer) -> None:
    server.away = True
    async with world.browser() as frame:
        answer = await frame.get("/smart/launch", params={"iss": "https://evil.test/fhir", "launch": "x"})
    assert answer.status_code == 400


async def test_answer_belongs_to_the_frame_that_began(world: Any, server: SmartServer) -> None:
    async with world.browser() as frame, world.browser() as other:
        state = await begin(frame, server)
        stolen = await other.get("/smart/callback", params={"state": state, "code": "good"})
        assert stolen.status_code == 410
        refused = await frame.get("/smart/callback", params={"state": state, "error": "access_denied"})
        assert refused.status_code == 410
    assert world.access_grants.grants == {}


async def test_server_away_is_told(world: Any, server: SmartServer) -> None:
    server.away = True
    async with world.browser() as frame:
        assert (await frame.get("/smart/launch", params={"iss": ISS, "launch": "x"})).status_code == 503
    assert json.dumps(world.audited, default=str) == "[]"
