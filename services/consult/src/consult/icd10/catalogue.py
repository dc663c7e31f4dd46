"""The codes in memory, and the search over them. Reading takes a moment: `Icd10.load` belongs into a thread."""

import gzip
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Self

from pypinyin import Style, lazy_pinyin

MAX_ANSWERS = 20
_CODE = re.compile(r"[a-z]\d[\da-z]?(\.?[\da-z]{0,4})?")


@dataclass(frozen=True, slots=True)
class Code:
    """A code as it is offered; `zh` is empty where nobody has named it in Chinese yet."""

    code: str
    zh: str
    en: str


@dataclass(frozen=True, slots=True)
class _Entry:
    """A code as it is searched: everything in lower case, the code without its dot."""

    shown: Code
    code: str
    zh: str
    initials: str
    """Of the Chinese name's pinyin: `feijiejie` is found by `fjj`."""
    pinyin: str
    words: frozenset[str]
    en: str


class Icd10:
    """Answers what somebody types: a code's beginning, Chinese, pinyin or its initials, English words' beginnings."""

    def __init__(self, codes: Iterable[Code]) -> None:
        self._entries = [_entry(code) for code in codes]

    @classmethod
    def load(cls) -> Self:
        """The committed lists: some 12 000 codes, half a second and some megabytes."""
        return cls(_codes())

    def search(self, typed: str, limit: int = MAX_ANSWERS) -> list[Code]:
        """The best answers first: whole matches, then beginnings, then what merely contains it; a code that has a
        Chinese name before one that has none, a shorter name before a longer."""
        query = " ".join(typed.lower().split())[:64]
        if not query:
            return []
        ranked = [
            (rank, not entry.zh, len(entry.zh or entry.en), entry.code, number)
            for number, entry in enumerate(self._entries)
            if (rank := _rank(entry, query)) is not None
        ]
        return [self._entries[number].shown for *_, number in sorted(ranked)[:limit]]


def _rank(entry: _Entry, query: str) -> int | None:
    """The smaller the better; None: it does not fit."""
    if _CODE.fullmatch(query):
        code = query.replace(".", "")
        if entry.code.startswith(code):
            return 0 if entry.code == code else 1
    if not query.isascii():
        if entry.zh.startswith(query):
            return 2
        parts = query.split()
        return 4 if entry.zh and all(part in entry.zh for part in parts) else None
    bare = query.replace(" ", "")
    if entry.zh:
        if entry.initials == bare or entry.pinyin == bare:
            return 2
        if len(bare) > 1 and (entry.initials.startswith(bare) or entry.pinyin.startswith(bare)):
            return 3
    wanted = query.replace(",", " ").split()
    if entry.en.startswith(query) and len(query) > 1:
        return 3
    if all(any(word.startswith(part) for word in entry.words) for part in wanted) and len(bare) > 1:
        return 5
    if entry.zh and len(bare) > 2 and (bare in entry.initials or bare in entry.pinyin):
        return 6
    return None


def _entry(code: Code) -> _Entry:
    named = re.sub(r"[^\w]", "", code.zh.partition("（")[0])
    en = code.en.lower()
    return _Entry(
        code,
        code.code.lower().replace(".", ""),
        code.zh.lower(),
        "".join(_initials(named)).lower(),
        "".join(lazy_pinyin(named)).lower() if named else "",
        frozenset(re.findall(r"[a-z0-9]+", en)),
        en,
    )


@cache
def _initials(name: str) -> list[str]:
    return lazy_pinyin(name, style=Style.FIRST_LETTER) if name else []


def _codes() -> Iterator[Code]:
    """English titles in the order of the book, with the Chinese names; then codes that only the Chinese list has."""
    folder = resources.files("consult.icd10")
    named: dict[str, tuple[str, str]] = {}
    for code, zh, *en in _rows(folder.joinpath("chinese.tsv").read_text("utf-8")):
        named[code] = (zh, en[0] if en else "")
    for code, title in _rows(gzip.decompress(folder.joinpath("titles.tsv.gz").read_bytes()).decode()):
        yield Code(code, named.pop(code, ("", ""))[0], title)
    for code, (zh, title) in named.items():
        yield Code(code, zh, title)


def _rows(text: str) -> Iterator[list[str]]:
    return (line.split("\t") for line in text.splitlines() if line and not line.startswith("#"))
