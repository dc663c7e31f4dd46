"""The portal's two languages: catalogues, and which one a request wants."""

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

LANGUAGES = ("zh", "en")
HTML_LANG = {"zh": "zh-CN", "en": "en"}


@cache
def catalogue(language: str) -> Mapping[str, str]:
    """All texts of a language, by key."""
    text = resources.files("gateway.web").joinpath("locales", f"{language}.json").read_text("utf-8")
    texts: dict[str, str] = json.loads(text)
    return texts


class Translator:
    """`t("key", name=value)` in one language; `t.or_key` for words that may come from another service."""

    def __init__(self, language: str) -> None:
        self.language = language
        self._texts = catalogue(language)

    def __call__(self, key: str, **values: Any) -> str:
        """The text; a missing key is a programming error."""
        text = self._texts[key]
        return text.format(**values) if values else text

    def word(self, prefix: str, value: str) -> str:
        """The text of `prefix.value`, or the value itself when it is not in the catalogue."""
        return self._texts.get(f"{prefix}.{value}", value)


def choose_language(cookie: str | None, accept_language: str) -> str:
    """The cookie's language, else the first of Accept-Language (RFC 9110 §12.5.4) that the portal speaks, else zh."""
    if cookie in LANGUAGES:
        return cookie
    wanted: list[tuple[float, int, str]] = []
    for place, part in enumerate(accept_language.split(",")):
        tag, _, quality = part.strip().partition(";q=")
        try:
            weight = float(quality) if quality else 1.0
        except ValueError:
            continue
        wanted.append((-weight, place, tag.split("-")[0].lower()))
    return next((tag for _, _, tag in sorted(wanted) if tag in LANGUAGES), "zh")
