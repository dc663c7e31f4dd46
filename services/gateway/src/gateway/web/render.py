"""Turns a template and what it shows into an answer."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from gateway.web.files import FileTree
from gateway.web.i18n import HTML_LANG, Translator, choose_language

LANGUAGE_COOKIE = "language"
STYLES = ("vendor/pico-2.1.1.min.css", "portal.css", "keys.css")
SCRIPTS = ("vendor/htmx-2.0.11.min.js", "portal.js", "keys.js")


def language_of(request: Request) -> str:
    """The language this browser wants."""
    return choose_language(request.cookies.get(LANGUAGE_COOKIE), request.headers.get("accept-language", ""))


def wants_fragment(request: Request) -> bool:
    """Whether htmx asks for a part of a page."""
    return request.headers.get("hx-request") == "true"


class Renderer:
    """The templates; undefined names are errors, everything is escaped."""

    def __init__(self, static: FileTree, time_zone: str) -> None:
        self._zone = ZoneInfo(time_zone)
        self._environment = Environment(
            loader=PackageLoader("gateway", "web/templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {"moment": self._moment}
        self._environment.globals["asset"] = lambda name: f"/portal/static/{static.fingerprint(name)}/{name}"
        self._assets = {
            kind: [f"/portal/static/{static.fingerprint(name)}/{name}" for name in names]
            for kind, names in (("styles", STYLES), ("scripts", SCRIPTS))
        }

    def page(self, request: Request, template: str, *, status: int = 200, **context: Any) -> HTMLResponse:
        """A page or a fragment; never kept by browsers or proxies."""
        identity = getattr(request.state, "identity", None)
        language = language_of(request)
        text = self._environment.get_template(template).render(
            t=Translator(language),
            lang=language,
            html_lang=HTML_LANG[language],
            session=identity.session if identity else None,
            path=request.url.path,
            **self._assets,
            **context,
        )
        return HTMLResponse(text, status, headers={"Cache-Control": "no-store"})

    def moment(self, value: Any) -> str:
        """A time, given as datetime or RFC 3339 text, in the region's zone."""
        return self._moment(value)

    def _moment(self, value: Any) -> str:
        """A time, given as datetime or RFC 3339 text, in the region's zone."""
        at = datetime.fromisoformat(value) if isinstance(value, str) else value
        return at.astimezone(self._zone).strftime("%Y-%m-%d %H:%M") if isinstance(at, datetime) else ""
