"""Rows of a search: which documents of their studies are still to be read, and which is shown first. Pure."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from imaging_common.index.levels import STUDIES, Level
from imaging_common.index.streams import Clause, conjuncts, joined

Documents = list[dict[str, Any]]
Groups = dict[str, dict[str, dict[str, Any]]]
"""UID → `_id` → document."""


def part_of(level: Level, stream: Clause, uids: Sequence[str], known: AbstractSet[str]) -> Clause | None:
    """The part of a stream that has these UIDs; None where all that it can have is known or nothing is asked."""
    if not uids:
        return None
    of_all = joined([{level.uid_field: {"$in": list(uids)}}, *conjuncts(stream)])
    if level is not STUDIES:
        return of_all
    holder, ids = stream.get("holder"), stream.get("_id")
    if isinstance(ids, Mapping) and ids.keys() == {"$in"}:
        wanted = set(uids)
        keys = [key for key in ids["$in"] if key.partition("/")[2] in wanted and key not in known]
    elif isinstance(holder, str):
        keys = [key for uid in uids if (key := f"{holder}/{uid}") not in known]
    else:
        return of_all
    return {**stream, "_id": {"$in": keys}} if keys else None


def merged(level: Level, groups: Groups, more: Documents, uids: Sequence[str]) -> Groups:
    """The rows' documents by UID and `_id`, in the order of the UIDs."""
    rows: Groups = {uid: dict(groups.get(uid, {})) for uid in uids}
    for document in more:
        rows[document[level.uid_field]][document["_id"]] = document
    return rows


def ranked(group: Mapping[str, dict[str, Any]], matching: AbstractSet[str], prefer: str) -> tuple[dict[str, Any], ...]:
    """A row's documents, the one to show first."""
    return tuple(
        sorted(
            group.values(),
            key=lambda d: (
                d["_id"] not in matching, d["holder"] != prefer, -d.get("instance_count", 0), d["holder"],
            ),
        )
    )  # fmt: skip
