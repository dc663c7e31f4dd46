"""Residents that turned out to be one person: redirects (`index.merges`) are followed when read. Pure.

A resident redirects to at most one other, so redirects that hang together lead to one resident, whoever is asked for. A
circle, which contradicts itself, is cut where the statement is oldest: the one with the lowest revision is ignored.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

RESIDENT_ISSUER = "EHR"
"""Issuer of Patient ID (0010,0021) by which a search names a resident instead of a hospital's patient."""
MAX_MERGED = 1000


class Resident(NamedTuple):
    """One person: the id that counts, and every id that redirects to it, itself included."""

    id: str
    ids: tuple[str, ...]


def resident_of(resident_id: str, merges: Sequence[Mapping[str, Any]]) -> Resident:
    """The person behind an id; `merges` are the redirects that hang together with it."""
    into = {merge["_id"]: (int(merge["revision"]), str(merge["into"])) for merge in merges}
    into = {old: target for old, target in into.items() if target[1] != old}
    path = [resident_id]
    while path[-1] in into:
        following = into[path[-1]][1]
        if following in path:
            circle = path[path.index(following) :]
            oldest = min(circle, key=lambda member: (into[member][0], member))
            return Resident(oldest, _members(resident_id, into))
        path.append(following)
    return Resident(path[-1], _members(resident_id, into))


def _members(resident_id: str, into: Mapping[str, tuple[int, str]]) -> tuple[str, ...]:
    return tuple(sorted({resident_id, *into, *(target for _, target in into.values())}))
