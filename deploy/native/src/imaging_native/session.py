"""Signs a person in at the portal through Keycloak's own form, without a browser: for tests, faults and benchmarks."""

import html
import re
from typing import Any

import httpx


async def portal_client(state: dict[str, Any], user: str) -> httpx.AsyncClient:
    """A client with the session of `user`, its base address the portal's; the caller closes it.

    Keycloak's cookies are `Secure` also on plain HTTP, where browsers accept them for loopback; so does this client.
    """
    client = httpx.AsyncClient(
        base_url=state["portal"],
        timeout=30,
        follow_redirects=True,
        limits=httpx.Limits(max_connections=64, max_keepalive_connections=64),
    )

    async def send_secure_cookies_on_loopback(response: httpx.Response) -> None:
        for cookie in client.cookies.jar:
            cookie.secure = False

    client.event_hooks["response"].append(send_secure_cookies_on_loopback)
    try:
        form = await client.get("/auth/login")
        form.raise_for_status()
        action = re.search(r'<form[^>]*action="([^"]+)"', form.text)
        if action is None:
            raise RuntimeError(f"no sign-in form at {form.url.copy_with(query=None)} (status {form.status_code})")
        landed = await client.post(
            html.unescape(action.group(1)), data={"username": user, "password": state["users"][user]["password"]}
        )
        landed.raise_for_status()
        if not str(landed.url).startswith(state["portal"]):
            raise RuntimeError(f"{user} was not signed in: Keycloak showed its form again")
    except BaseException:
        await client.aclose()
        raise
    return client
