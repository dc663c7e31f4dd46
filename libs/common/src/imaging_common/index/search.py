"""Searches of the index: a page of rows, merged over the holders that the asker may see (decision 0006)."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from imaging_common.access import Subject, visible_studies
from imaging_common.index.levels import STUDIES, Level, Page, Row, at_level
from imaging_common.index.listing import LISTED
from imaging_common.index.reader import IndexReader
from imaging_common.index.rows import Documents, Groups, merged, part_of, ranked
from imaging_common.index.streams import Clause, conjuncts, in_order, joined, places, scope_of, split

NOT_IN_ROWS: Mapping[str, int] = {"header": 0, "location": 0, "digests": 0, "tokens": 0, "patient.name.search": 0}
MAX_KEYS = 10_000
"""Upper levels that a search at a lower level looks into."""
LOOKAHEAD = 100
"""So many more rows than asked for are counted; behind them is only "more"."""
MAX_OFFSET = 10_000
"""No page begins later: whoever wants to see more than that should narrow the search."""
SLACK = 16
"""Documents read beyond the wanted rows, for holders of the same study."""
READ_WHOLE = 200
"""Up to so many studies are read whole at once; of more, first who they are, then the page."""


class IndexSearch:
    """What can be asked of many studies; `StudyIndex` adds what is asked of one."""

    def __init__(self, reader: IndexReader) -> None:
        self._reader = reader

    async def search_studies(
        self,
        subject: Subject,
        where: Clause | None = None,
        *,
        limit: int = 100,
        offset: int = 0,
        lookahead: int = LOOKAHEAD,
    ) -> Page:
        """Studies the subject may see, newest first, one row per Study Instance UID."""
        return await self.search(STUDIES, subject, where or {}, limit=limit, offset=offset, lookahead=lookahead)

    async def search(
        self,
        level: Level,
        subject: Subject,
        where: Clause,
        *,
        limit: int,
        offset: int,
        lookahead: int = LOOKAHEAD,
    ) -> Page:
        """One page of a level, merged over the holders the subject may see; headers are left out.

        Of the holders of a row the one that matches comes first, then the subject's own hospital, then the fullest.
        """
        if offset > MAX_OFFSET:
            return Page()
        visible = await self._visible(subject, level)
        streams = split(visible, where, places(where) if level is STUDIES else {})
        scope = [*scope_of(where), *([LISTED] if level is STUDIES else [])]
        seen = split(visible, *scope)
        once = level is STUDIES and len(seen) == 1 and isinstance(seen[0].get("holder"), str)
        if once and len(streams) == 1:
            return await self._page_of_one(streams[0], limit, offset, lookahead)
        wanted = offset + limit + lookahead
        whole = level is STUDIES and wanted <= READ_WHOLE
        found, more = await self._walk(level, streams, wanted, whole)
        uids = list(found)[offset : offset + limit]
        groups = {uid: found[uid] for uid in uids}
        matching = {key for group in groups.values() for key in group}
        if not (once and whole):
            known = matching if whole else set()
            groups = merged(level, groups if whole else {}, await self._beside(level, seen, uids, known), uids)
            several = {key for group in groups.values() if len(group) > 1 for key in group} - matching
            matching |= await self._matching(level, sorted(several), where) if several else set()
        rows = [Row(ranked(group, matching, subject.hospital)) for group in groups.values() if group]
        return Page(rows, max(0, len(found) - offset - limit), more)

    async def _page_of_one(self, stream: Clause, limit: int, offset: int, lookahead: int) -> Page:
        """A page where each document is a row: MongoDB skips what is before it, and counts what is behind it."""
        if offset + limit + lookahead <= READ_WHOLE or not limit:
            found = await self._documents_of(STUDIES, stream, skip=offset, limit=limit + lookahead + 1)
            behind = max(0, len(found) - limit)
        else:
            found, behind = await asyncio.gather(
                self._documents_of(STUDIES, stream, skip=offset, limit=limit),
                self._reader.count(STUDIES.collection, stream, skip=offset + limit, limit=lookahead + 1),
            )
        return Page([Row((document,)) for document in found[:limit]], min(behind, lookahead), behind > lookahead)

    async def _documents_of(self, level: Level, stream: Clause, *, skip: int, limit: int) -> Documents:
        return await self._reader.find(
            level.collection, stream, order=level.order, skip=skip, limit=limit, projection=NOT_IN_ROWS
        )

    async def _walk(self, level: Level, streams: Sequence[Clause], wanted: int, whole: bool) -> tuple[Groups, bool]:
        """The first `wanted` rows in order as UID → `_id` → document that matches, and whether there are more."""
        brief = {level.uid_field: 1, **{name: 1 for name, _ in level.order}}
        limit = wanted + SLACK
        while True:
            parts = await asyncio.gather(
                *(
                    self._reader.find(
                        level.collection, stream, order=level.order, limit=limit,
                        projection=NOT_IN_ROWS if whole else brief,
                    )
                    for stream in streams
                )
            )  # fmt: skip
            cut = any(len(part) == limit for part in parts)
            rows: Groups = {}
            for document in in_order(parts, level.order)[: limit if cut else None]:
                rows.setdefault(document[level.uid_field], {})[document["_id"]] = dict(document)
            if not cut or len(rows) > wanted:
                return {uid: rows[uid] for uid in list(rows)[:wanted]}, len(rows) > wanted
            limit *= 2

    async def _beside(self, level: Level, seen: Sequence[Clause], uids: Sequence[str], known: set[str]) -> Documents:
        """The rows' documents at every holder that the asker may see and the search looks into, but for known ones."""
        asked = [clause for stream in seen if (clause := part_of(level, stream, uids, known)) is not None]
        parts = await asyncio.gather(
            *(self._reader.find(level.collection, clause, projection=NOT_IN_ROWS) for clause in asked)
        )
        found = [document for part in parts for document in part]
        if level is not STUDIES and found:
            listed = await self._listed({document["study_key"] for document in found})
            found = [document for document in found if document["study_key"] in listed]
        return found

    async def _matching(self, level: Level, keys: Sequence[str], where: Clause) -> set[str]:
        """Which of these documents match the search themselves, beside others of their row."""
        clause = joined([{"_id": {"$in": list(keys)}}, *conjuncts(where)])
        return {d["_id"] for d in await self._reader.find(level.collection, clause, projection={"_id": 1})}

    async def _listed(self, study_keys: Iterable[str]) -> set[str]:
        clause = {"_id": {"$in": sorted(study_keys)}, **LISTED}
        return {d["_id"] for d in await self._reader.find("studies", clause, projection={"_id": 1})}

    async def _visible(self, subject: Subject, level: Level) -> Clause:
        """What the subject may see of a level; below the studies, a resident's record is its studies' keys."""
        visible = visible_studies(subject)
        branches = visible.get("$or", [])
        if level is STUDIES or not any("resident_id" in branch for branch in branches):
            return at_level(visible, level)
        keys: set[str] = set()
        for branch in branches:
            if "resident_id" in branch:
                clause = {**branch, **LISTED}
                found = await self._reader.find("studies", clause, limit=MAX_KEYS, projection={"_id": 1})
                keys |= {document["_id"] for document in found}
        rest = [branch for branch in branches if "resident_id" not in branch]
        return at_level({"$or": [*rest, {"_id": {"$in": sorted(keys)}}]}, level)

    async def keys(self, level: Level, subject: Subject, where: Clause) -> list[str]:
        """The `_id`s of studies or series that match, to search below them."""
        return sorted({d["_id"] for d in await self._some(level, subject, where, {"_id": 1})})

    async def study_keys(self, level: Level, subject: Subject, where: Clause) -> list[str]:
        """The `_id`s of the studies that have something matching at a lower level."""
        return sorted({d["study_key"] for d in await self._some(level, subject, where, {"study_key": 1})})

    async def _some(self, level: Level, subject: Subject, where: Clause, projection: Mapping[str, int]) -> Documents:
        """Up to `MAX_KEYS` documents that match; of studies only listed ones."""
        visible = await self._visible(subject, level)
        streams = split(visible, where, places(where) if level is STUDIES else {})
        parts = await asyncio.gather(
            *(self._reader.find(level.collection, stream, limit=MAX_KEYS, projection=projection) for stream in streams)
        )
        return [document for part in parts for document in part][:MAX_KEYS]
