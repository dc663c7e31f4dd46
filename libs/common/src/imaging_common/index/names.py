"""Person names (PS3.5 §6.2): component groups, and the folded forms in which a search compares them.

A name enters as DICOM writes it or as DICOM JSON holds it; what leaves finds it again in Latin letters, in Han as
written, and in pinyin with or without spaces. Case, accents and width never matter.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from pypinyin import lazy_pinyin

from imaging_common.index.model import PersonName

SURNAME_READINGS = {
    "单": "shan", "曾": "zeng", "仇": "qiu", "解": "xie", "任": "ren", "查": "zha", "区": "ou", "盖": "ge",
    "朴": "piao", "翟": "zhai", "华": "hua", "燕": "yan", "尉迟": "yuchi", "长孙": "zhangsun", "万俟": "moqi",
    "单于": "chanyu", "覃": "qin", "乐": "yue", "员": "yun", "缪": "miao", "宁": "ning", "召": "shao",
}  # fmt: skip
"""Surnames that are read otherwise than the same character elsewhere."""
COMPOUND_SURNAMES = frozenset(
    ["欧阳", "司马", "上官", "诸葛", "东方", "皇甫", "尉迟", "公孙", "慕容", "令狐", "宇文", "长孙", "司徒", "夏侯",
     "南宫", "万俟", "单于", "端木", "闻人", "独孤"]
)  # fmt: skip
MAX_QUERY_LENGTH = 64
MAX_TOKEN_LENGTH = 8
MAX_TOKEN_WORDS = 6
"""Words of a name at which a fuzzy search may begin."""
_HAN = re.compile(r"[㐀-䶿一-鿿豈-﫿]")
_WORD_BREAK = re.compile(r"[\s^=,·]+")


def fold(text: str) -> str:
    """Lower case without accents, full width as half width, components and words apart by one space."""
    decomposed = unicodedata.normalize("NFKD", text)
    plain = "".join(c for c in decomposed if not "\u0300" <= c <= "\u036f")
    return _WORD_BREAK.sub(" ", unicodedata.normalize("NFKC", plain).casefold()).strip()


def parse_person_name(value: str | Mapping[str, Any] | None) -> PersonName:
    """A PN value, `Family^Given=王^小东=` or its DICOM JSON object (PS3.18 F.2.2), with its search forms."""
    if value is None:
        return PersonName()
    if isinstance(value, str):
        groups = [*value.split("="), "", "", ""][:3]
    else:
        groups = [str(value.get(name) or "") for name in ("Alphabetic", "Ideographic", "Phonetic")]
    alphabetic, ideographic, phonetic = (group.strip().rstrip("^") for group in groups)
    return PersonName(
        alphabetic=alphabetic,
        ideographic=ideographic,
        phonetic=phonetic,
        search=search_forms(alphabetic, ideographic, phonetic),
    )


@lru_cache(maxsize=4096)
def _forms(groups: tuple[str, ...]) -> tuple[str, ...]:
    forms: set[str] = set()
    for group in groups:
        folded = fold(group)
        if not folded:
            continue
        spellings = {folded}
        if _HAN.search(folded):
            family, given = _han_parts(group)
            spellings |= {f"{family} {given}".strip()} | _pinyin_forms(family, given)
        for spelling in spellings:
            forms |= {spelling, spelling.replace(" ", "")}
    return tuple(sorted(forms))


def search_forms(*groups: str) -> list[str]:
    """Every folded form of a name's component groups: spaced and joined, Han and pinyin."""
    return list(_forms(groups))


def _han_parts(group: str) -> tuple[str, str]:
    """Family and given name; of a name without `^` the first character, or a known two-character surname."""
    parts = fold(group).split(" ")
    if len(parts) > 1:
        return parts[0], "".join(parts[1:])
    name = parts[0]
    cut = 2 if name[:2] in COMPOUND_SURNAMES and len(name) > 2 else 1
    return name[:cut], name[cut:]


def pinyin_name(written: str) -> str:
    """The alphabetic component group `Family^Given` of a name written in Han, e.g. `Wang^Xiaodong`."""
    family, given = _han_parts(written)
    reading = SURNAME_READINGS.get(family) or "".join(lazy_pinyin(family, v_to_u=False))
    return "^".join(part.capitalize() for part in (reading, "".join(lazy_pinyin(given, v_to_u=False))) if part)


def _pinyin_forms(family: str, given: str) -> set[str]:
    readings = [SURNAME_READINGS.get(family) or "".join(lazy_pinyin(family, v_to_u=False))]
    plain = "".join(lazy_pinyin(family, v_to_u=False))
    if plain not in readings:
        readings.append(plain)
    syllables = lazy_pinyin(given, v_to_u=False)
    forms: set[str] = set()
    for reading in readings:
        for joined, spaced in (("".join(syllables), " ".join(syllables)),):
            forms |= {fold(f"{reading} {joined}"), fold(f"{reading} {spaced}")}
    for form in tuple(forms):
        if "v" in form:
            forms |= {form.replace("v", "u"), form.replace("v", "yu")}
    return forms


def name_tokens(forms: Iterable[str]) -> list[str]:
    """The beginnings of a name's search forms at every word, without spaces; at later words with `~` before them. Whole
    words also with a space behind them, whole forms with `$`.

    A form that a query matches has one of the query's tokens (`query_tokens`), so an index over tokens finds a
    beginning as an equality. One Latin letter alone is no token.
    """
    tokens: set[str] = set()
    for form in forms:
        words = form.split(" ")
        tokens.add("".join(words) + "$")
        for start in range(min(len(words), MAX_TOKEN_WORDS)):
            rest = "".join(words[start:])[:MAX_TOKEN_LENGTH]
            shortest = 2 if rest[:1].isascii() else 1
            later = "~" if start else ""
            tokens |= {later + rest[:length] for length in range(shortest, len(rest) + 1)}
            ends = ("".join(words[start:end]) for end in range(start + 1, len(words)))
            tokens |= {f"{later}{whole} " for whole in ends if len(whole) <= MAX_TOKEN_LENGTH}
    return sorted(tokens)


def query_tokens(query: str, *, fuzzy: bool) -> list[str]:
    """Whatever `name_pattern(query)` matches has one of these; empty when it begins with a wild card or one letter."""
    token = _query_token(query, fuzzy=fuzzy)
    if token is None:
        return []
    return [token, f"~{token}"] if fuzzy else [token]


def _query_token(query: str, *, fuzzy: bool) -> str | None:
    folded = fold(query[:MAX_QUERY_LENGTH])
    if fuzzy:
        folded = folded.strip("* ")
    beginning = re.split(r"[*?]", folded)[0]
    joined = beginning.replace(" ", "")
    if not fuzzy and beginning == folded and joined:
        return joined + "$"
    if beginning.endswith(" ") and joined and len(joined) <= MAX_TOKEN_LENGTH:
        return joined + " "
    if len(joined) < 2 and (not joined or joined.isascii()):
        return None
    return joined[:MAX_TOKEN_LENGTH]


def name_clause(query: str, *, fuzzy: bool) -> dict[str, Any]:
    """The clause on documents of `index.studies` for a patient's name."""
    pattern = {"patient.name.search": {"$regex": name_pattern(query, fuzzy=fuzzy)}}
    tokens = query_tokens(query, fuzzy=fuzzy)
    if not tokens:
        return pattern
    return {"tokens": tokens[0] if len(tokens) == 1 else {"$in": tokens}, **pattern}


def name_pattern(query: str, *, fuzzy: bool) -> str:
    """The regular expression that a search form must match, for a PN query value with wildcards `*` and `?`.

    Literal: the whole form. Fuzzy (PS3.18 §8.3.4.2): the beginning of any word, so `xiaodong` and `小东` find too.
    """
    folded = fold(query[:MAX_QUERY_LENGTH])
    if fuzzy:
        return r"(^| )" + wildcard_pattern(folded.strip("* "))
    return f"^{wildcard_pattern(folded)}$"


def wildcard_pattern(text: str) -> str:
    """DICOM wild cards (PS3.4 C.2.2.2.4) as a regular expression, everything else literal."""
    return "".join({"*": ".*", "?": "."}.get(c) or re.escape(c) for c in text)
