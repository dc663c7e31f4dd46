"""What windows (EHR launches, share links) have in common: their cookie, and how often one may try to open one."""

import time
from collections import OrderedDict
from ipaddress import ip_address
from urllib.parse import urlencode, urlsplit

from fastapi import Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from gateway.api.portal import Portal
from gateway.model import Session
from gateway.web.i18n import HTML_LANG

MAX_CALLERS = 4096


class Attempts:
    """Counts the attempts of each address, per copy of the gateway; memory is bounded."""

    def __init__(self, limit: int, seconds: float = 60.0) -> None:
        self._limit = limit
        self._seconds = seconds
        self._failed: OrderedDict[str, list[float]] = OrderedDict()

    def check(self, request: Request) -> None:
        """Refuse an address with too many: 429."""
        since = time.monotonic() - self._seconds
        failed = [at for at in self._failed.get(_address(request), ()) if at > since]
        if len(failed) >= self._limit:
            raise HTTPException(429, "too many failed attempts; wait a minute", {"Retry-After": "60"})

    def count(self, request: Request) -> None:
        """Remember one that counts."""
        failed = self._failed.setdefault(_address(request), [])
        failed.append(time.monotonic())
        del failed[: -self._limit]
        self._failed.move_to_end(_address(request))
        if len(self._failed) > MAX_CALLERS:
            self._failed.popitem(last=False)


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def framable(portal: Portal) -> bool:
    """Whether a browser would keep a cookie of a frame: by https, or on this very machine."""
    return portal.settings.secure or is_this_machine(urlsplit(portal.settings.public_url).hostname or "")


def is_this_machine(host: str) -> bool:
    """A loopback address, `localhost`, or a name below it (RFC 6761 §6.3): browsers trust them without TLS."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def set_cross_site(response: Response, name: str, value: str, seconds: int) -> None:
    """A cookie that comes back from a frame on another site's page, there alone (CHIPS)."""
    response.headers.append(
        "set-cookie", f"{name}={value}; Max-Age={seconds}; Path=/; HttpOnly; Secure; SameSite=None; Partitioned"
    )


def end_cookie(response: Response, portal: Portal) -> None:
    """Take the portal's cookie back."""
    response.delete_cookie(portal.cookie, path="/", secure=portal.settings.secure, httponly=True, samesite="lax")


async def present(portal: Portal, request: Request) -> list[Session]:
    """The sessions whose cookies came along, the portal's first."""
    found = []
    for name in (portal.cookie, portal.window_cookie):
        cookie = request.cookies.get(name)
        identity = await portal.authenticator.by_cookie(cookie) if cookie else None
        if identity is not None and identity.session is not None:
            found.append(identity.session)
    return found


def viewer_path(studies: tuple[str, ...], language: str) -> str:
    """The viewer with these studies; empty without any."""
    query = urlencode({"StudyInstanceUIDs": ",".join(studies), "lng": HTML_LANG[language]}, safe=",")
    return f"/viewer?{query}" if studies else ""
