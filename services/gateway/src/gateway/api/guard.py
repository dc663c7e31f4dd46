"""Stands before every route: who asks, may they ask at all, and what every answer must carry.

Deny by default: a path that is not listed here as public needs a session, below /dicomweb also a bearer token.
"""

import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from urllib.parse import parse_qsl, quote, urlsplit

import structlog
from pymongo.errors import PyMongoError
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.api.edges import refuse_edge
from gateway.api.portal import Portal
from gateway.fhir.outcome import outcome
from gateway.model import Identity
from gateway.web.files import CONTAINS_DECODER
from imaging_common.errors import RetryableError

_log = structlog.get_logger(__name__)
PUBLIC_PATHS = frozenset(
    {
        "/health/live",
        "/health/ready",
        "/metrics",
        "/auth/login",
        "/auth/callback",
        "/portal/welcome",
        "/favicon.ico",
        "/fhir/R4/metadata",
        "/auth/backchannel-logout",
        "/launch",
        "/launch/here",
        "/share",
        "/smart/launch",
        "/smart/callback",
    }
)
PUBLIC_PREFIXES = ("/portal/static/", "/portal/language/", "/verify/")
FOR_PROGRAMS = ("/dicomweb/", "/ehr/", "/fhir/", "/launches")
"""Where a bearer token is taken instead of a session."""
CROSS_SITE = frozenset({"/launch"})
"""Forms of other sites' pages: an EHR posts a single-use code, whose origin the route checks."""
SIGNS_IN_ITSELF = frozenset({"/IHEInvokeImageDisplay"})
"""Begins the sign-in with what it was asked kept on the server: it may name a person."""
CLOSED_TO_WINDOWS = frozenset({"", "portal", "auth", "ehr", "fhir", "launches", "smart", "metrics", "health", "verify"})
WINDOW_PATHS = ("/launch", "/smart/", "/IHEInvokeImageDisplay")
"""Pages that stand in an EHR's frame before the viewer does."""
_WINDOW_PAGE = re.compile(
    r"/portal/(viewing|reading/(facts|priors)|studies/[^/]+/[^/]+/reports(/panel)?"
    r"|reports/[^/]+/[0-9a-f]{32}/[0-9a-f]{64}/(original|document/\d+))"
)
"""Pages of the portal that belong to the viewer of an EHR's window or a share link; each asks the access rule."""
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
MAX_BODY_BYTES = 1_000_000
KEPT_QUERY = frozenset({"StudyInstanceUIDs", "hangingProtocolId", "ref", "box", "lng"})
"""What may stand in a redirect's address: nothing that names a person."""

PORTAL_CSP = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
)
DICOMWEB_CSP = "default-src 'none'; sandbox"
VIEWER_CSP = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval'; worker-src 'self' blob:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self' data: blob:; media-src 'self' blob:; object-src 'none'; base-uri 'self'; "
    "form-action 'self'; frame-ancestors 'self'"
)
DECODER_CSP = "default-src 'self'; script-src 'self' 'unsafe-eval' 'wasm-unsafe-eval'; connect-src 'self' data: blob:"
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
_PATH = re.compile(r"/(?![/\\])[^\\\x00-\x1f]*")


class Guard:
    """The ASGI middleware."""

    def __init__(
        self, app: ASGIApp, portal: Portal, closed_to_windows: Callable[[Request], Response] | None = None
    ) -> None:
        self._app = app
        self._portal = portal
        self._closed_to_windows = closed_to_windows
        ancestors = portal.settings.frame_ancestors
        self._viewer_csp = f"{VIEWER_CSP} {ancestors}" if ancestors else VIEWER_CSP
        self._window_csp = f"{PORTAL_CSP} {ancestors}" if ancestors else PORTAL_CSP

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through, or answer it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = Headers(scope=scope)

        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._dress(scope["path"], MutableHeaders(scope=message))
            await send(message)

        refusal: Response | None
        try:
            identity = await self._identify(scope, headers)
            scope.setdefault("state", {})["identity"] = identity
            refusal = self._refuse(scope, headers, identity) or await refuse_edge(scope, identity, self._portal)
        except (RetryableError, PyMongoError) as error:
            _log.warning("not-identified", error=type(error).__name__)
            refusal = JSONResponse(
                {"type": "about:blank", "title": "Service Unavailable", "status": 503,
                 "detail": "a part of the system is away; try again"},
                status_code=503, headers={"Retry-After": "5"}, media_type="application/problem+json",
            )  # fmt: skip
        await (refusal or self._app)(scope, receive, dressed)

    async def _identify(self, scope: Scope, headers: Headers) -> Identity | None:
        if is_public(scope["path"]) and scope["path"] != "/portal/welcome":
            return None
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and scope["path"].startswith(FOR_PROGRAMS):
            return await self._portal.authenticator.by_bearer(token.strip())
        for name in (self._portal.cookie, self._portal.window_cookie):
            cookie = Request(scope).cookies.get(name)
            if cookie and (identity := await self._portal.authenticator.by_cookie(cookie)):
                return identity
        return None

    def _refuse(self, scope: Scope, headers: Headers, identity: Identity | None) -> Response | None:
        path = scope["path"]
        if scope["method"] not in SAFE_METHODS and path not in CROSS_SITE and not _same_origin(headers):
            return _problem(403, "the request comes from another site")
        if scope["method"] not in SAFE_METHODS and not _bounded(headers, self._limit(path)):
            return _problem(413, "the form is too large")
        if identity is not None and identity.session is not None and identity.session.kind != "portal":
            return None if is_public(path) or open_to_windows(path) else self._closed(scope, headers)
        if identity is not None or is_public(path) or path in SIGNS_IN_ITSELF:
            return None
        if headers.get("hx-request") == "true":
            back = urlsplit(headers.get("hx-current-url", "")).path or "/portal"
            return _problem(401, "not signed in", {"HX-Redirect": sign_in_path(back)})
        if scope["method"] == "GET" and _is_navigation(path, headers):
            if path in ("/", "/portal", "/portal/"):
                return RedirectResponse("/portal/welcome", 303)
            return RedirectResponse(sign_in_path(path, scope["query_string"].decode("latin-1")), 303)
        if path.startswith("/fhir/"):
            return outcome(401, "a bearer token is needed", headers={"WWW-Authenticate": "Bearer"})
        return _problem(401, "not signed in", {"WWW-Authenticate": "Bearer"} if path.startswith(FOR_PROGRAMS) else {})

    def _limit(self, path: str) -> int:
        """Bytes of a request's body: uploads and the viewer's annotations are larger than forms."""
        if path == "/portal/uploads/batch":
            return self._portal.settings.upload_batch_bytes
        return self._portal.settings.max_annotation_bytes if path.startswith("/dicomweb/") else MAX_BODY_BYTES

    def _closed(self, scope: Scope, headers: Headers) -> Response:
        """A window asks for another page: a page says so."""
        if self._closed_to_windows is not None and _is_navigation(scope["path"], headers):
            return self._closed_to_windows(Request(scope))
        return _problem(403, "this window shows the images it was opened for, and no other page")

    def _dress(self, path: str, headers: MutableHeaders) -> None:
        for name, value in HEADERS.items():
            headers.setdefault(name, value)
        if self._portal.settings.secure:
            headers.setdefault("Strict-Transport-Security", "max-age=31536000")
        decoder = headers.get(CONTAINS_DECODER) is not None
        if decoder:
            del headers[CONTAINS_DECODER]
        headers.setdefault("Content-Security-Policy", self._csp(path, decoder))

    def _csp(self, path: str, decoder: bool) -> str:
        if decoder:
            return DECODER_CSP
        if path.startswith("/dicomweb"):
            return DICOMWEB_CSP
        if path.startswith(WINDOW_PATHS) or _WINDOW_PAGE.fullmatch(path):
            return self._window_csp
        if path.startswith(("/share", "/portal", "/auth", "/health", "/metrics", "/verify")):
            return PORTAL_CSP
        return self._viewer_csp


def is_public(path: str) -> bool:
    """Whether a path needs no session."""
    return path in PUBLIC_PATHS or path.startswith(PUBLIC_PREFIXES)


def open_to_windows(path: str) -> bool:
    """Whether a window's session may ask for a path: the viewer, its files and images, the reports of its studies."""
    return _WINDOW_PAGE.fullmatch(path) is not None or path.split("/")[1] not in CLOSED_TO_WINDOWS


def safe_path(text: str | None) -> str:
    """A path of this portal to go on to; anything else becomes the start page."""
    return text if text and _PATH.fullmatch(text) else "/portal/home"


def sign_in_path(path: str, query: str = "") -> str:
    """The sign-in's address, from which the browser comes back to `path`; a query that could name a person is left
    behind."""
    kept = parse_qsl(query)
    if kept and all(name in KEPT_QUERY for name, _ in kept):
        path = f"{path}?{query}"
    return f"/auth/login?next={quote(path, safe='')}"


def _is_navigation(path: str, headers: Headers) -> bool:
    mode = headers.get("sec-fetch-mode", "navigate")
    return mode == "navigate" and "text/html" in headers.get("accept", "") and not path.startswith("/dicomweb")


def _same_origin(headers: Headers) -> bool:
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host")


def _bounded(headers: Headers, limit: int) -> bool:
    length = headers.get("content-length", "" if "transfer-encoding" in headers else "0")
    return length.isdigit() and len(length) < 13 and int(length) <= limit


def _problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status,
            "detail": detail}  # fmt: skip
    return JSONResponse(body, status_code=status, headers=dict(headers or {}), media_type="application/problem+json")
