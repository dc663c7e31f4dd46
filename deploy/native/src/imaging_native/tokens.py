"""Access tokens of the region's programs and people, for tests: from Keycloak, as everybody gets theirs."""

import base64
import hashlib
import html
import re
import secrets
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx


async def program_token(issuer: str, client_id: str, client_secret: str) -> str:
    """By client credentials (RFC 6749 §4.4)."""
    data = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": client_secret}
    async with httpx.AsyncClient(timeout=20) as client:
        answer = await client.post(f"{issuer}/protocol/openid-connect/token", data=data)
    answer.raise_for_status()
    return str(answer.json()["access_token"])


async def person_token(state: dict[str, Any], user: str, portal_secret: str) -> str:
    """By the code flow with PKCE (RFC 7636), as the portal does it; the portal itself is not asked."""
    verifier = secrets.token_urlsafe(48)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    callback = f"{state['portal']}/auth/callback"
    endpoint = f"{state['issuer']}/protocol/openid-connect"
    asked = {
        "response_type": "code",
        "client_id": "portal",
        "redirect_uri": callback,
        "scope": "openid",
        "state": "test",
        "nonce": secrets.token_urlsafe(16),
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    async with httpx.AsyncClient(timeout=20) as client:

        async def send_secure_cookies_on_loopback(response: httpx.Response) -> None:
            for cookie in client.cookies.jar:
                cookie.secure = False

        client.event_hooks["response"].append(send_secure_cookies_on_loopback)
        form = await client.get(f"{endpoint}/auth", params=asked)
        action = re.search(r'<form[^>]*action="([^"]+)"', form.text)
        if action is None:
            raise RuntimeError(f"Keycloak shows no sign-in form (status {form.status_code})")
        password = state["users"][user]["password"]
        landed = await client.post(html.unescape(action[1]), data={"username": user, "password": password})
        code = parse_qs(urlsplit(landed.headers["location"]).query)["code"][0]
        data = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": callback,
            "client_id": "portal",
            "client_secret": portal_secret,
            "code_verifier": verifier,
        }
        answer = await client.post(f"{endpoint}/token", data=data)
    answer.raise_for_status()
    return str(answer.json()["access_token"])
