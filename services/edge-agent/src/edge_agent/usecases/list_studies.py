"""Lists every study of a PACS, however few matches it gives at once, by cutting questions into smaller ones."""

import string
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta

from edge_agent.pacs_model import Found, StudyListing, StudyMatch
from edge_agent.ports import PacsQuery
from imaging_common.telemetry import get_logger

_log = get_logger(__name__)
ID_CHARACTERS = string.digits + string.ascii_uppercase + string.ascii_lowercase + "-_./#"
UID_CHARACTERS = string.digits + "."
LAST_SECOND = 24 * 3600 - 1
MAX_PREFIX = 64
WORTH_PROVING = 10
"""Matches, all of one instant, from which on a limit of the PACS is looked for by Patient ID."""
_DAY = timedelta(days=1)
Studies = dict[str, StudyListing]


class StudyLister:
    """One listing of a whole PACS.

    An answer that was cut off, or is as long as the limit, is asked for again in parts: by StudyDate, within one day
    by StudyTime, within one instant by the beginning of Patient ID, for one Patient ID by the beginning of the UID. A
    range never matches a study without a value (PS3.4 C.2.2.2.5): those are found by Patient ID (`thorough`).

    A PACS may cut answers off without saying so at a number of its own: the first answer is compared with the sum of
    its parts, which shows that number.

    Parameters
    ----------
    limit
        Matches that one question may give.
    """

    def __init__(self, query: PacsQuery, limit: int) -> None:
        self._query = query
        self._limit = max(1, limit)
        self.studies: Studies = {}
        """What was found so far."""
        self.complete = True
        """False: some part could not be cut small enough."""

    async def list_all(self, *, thorough: bool = True) -> None:
        """Fill `studies`.

        Raises
        ------
        PacsUnreachable, PacsRefused
            The PACS broke off; `studies` has what came before.
        """
        everything = StudyMatch()
        found, answer = await self._ask(everything)
        if answer.paged and answer.complete:
            return
        if answer.complete and len(found) < self._limit and not await self._hides_more(everything, found):
            return
        await self._cut(everything, found)
        if thorough:
            await self._cut_by_patient(everything, 0)

    async def _hides_more(self, match: StudyMatch, found: Studies) -> bool:
        if len(found) < 2:
            return False
        parts = list(_parts_by_time(match, found))
        if not parts and match.dates is None:
            parts = [replace(match, dates=(date.min, None))]
        elif not parts and len(found) >= WORTH_PROVING:  # everything in one instant
            parts = [replace(match, patient_id=character, patient_prefix=True) for character in ID_CHARACTERS]
        for part in parts:
            part_found, answer = await self._ask(part)
            if not answer.complete or part_found.keys() - found.keys():
                self._limit = min(self._limit, len(found))
                _log.warning("pacs-cuts-answers-off", matches=len(found))
                return True
            if part_found.keys() == found.keys() and not part.patient_id:
                return await self._hides_more(part, part_found)
        return False

    async def _list(self, match: StudyMatch) -> None:
        found, answer = await self._ask(match)
        if not answer.complete or len(found) >= self._limit:
            await self._cut(match, found)

    async def _cut(self, match: StudyMatch, found: Studies) -> None:
        parts = list(_parts_by_time(match, found))
        for part in parts:
            await self._list(part)
        if not parts:
            await self._cut_by_patient(match, 0)

    async def _cut_by_patient(self, match: StudyMatch, depth: int) -> None:
        """All studies of `match` that have a Patient ID, one beginning after the other."""
        if match.uid_prefix or (match.patient_id and not match.patient_prefix):
            await self._cut_by_uid(match)
            return
        seen = {one.patient_id[depth] for one in self.studies.values() if len(one.patient_id) > depth}
        # beyond the first character those that were seen anywhere are tried, so that a long id costs few questions
        known = {character for one in self.studies.values() for character in one.patient_id}
        characters = seen | known | set(string.digits) | (set(ID_CHARACTERS) if depth == 0 else set())
        for character in sorted(characters - set("*?\\" if depth else "*?\\ ")):
            part = replace(match, patient_id=match.patient_id + character, patient_prefix=True)
            found, answer = await self._ask(part)
            if answer.complete and len(found) < self._limit:
                continue
            exactly = replace(part, patient_prefix=False)
            if character != " ":  # a space at the end counts for nothing (PS3.5 §6.2)
                found, answer = await self._ask(exactly)
                if not answer.complete or len(found) >= self._limit:
                    await self._cut_by_uid(exactly, found)
            if depth < MAX_PREFIX:
                await self._cut_by_patient(part, depth + 1)

    async def _cut_by_uid(self, match: StudyMatch, found: Studies | None = None) -> None:
        """The last resort; UIDs need not match by wildcards (PS3.4 C.2.2.2.2), then the listing is incomplete."""
        before = len(self.studies)
        parts = list(_parts_by_time(match, found)) if found and not match.uid_prefix and match.dates is None else []
        for part in parts:
            await self._list(part)
        helped = False
        for character in UID_CHARACTERS:
            part = replace(match, uid_prefix=match.uid_prefix + character)
            some, answer = await self._ask(part)
            helped = helped or bool(some)
            if (not answer.complete or len(some) >= self._limit) and len(part.uid_prefix) < MAX_PREFIX:
                await self._cut_by_uid(part)
        if not helped:
            self.complete = False
            _log.warning("pacs-answer-cannot-be-cut", matches=len(found or ()), more=len(self.studies) - before)

    async def _ask(self, match: StudyMatch) -> tuple[Studies, Found]:
        answer = await self._query.studies(match)
        found = {one.study_uid: one for one in map(StudyListing.of, answer.studies) if one is not None}
        self.studies.update(found)
        return found, answer


def _parts_by_time(match: StudyMatch, found: Studies) -> Iterator[StudyMatch]:
    """Two or three smaller questions that together match every study of `match` with date and time; none: an instant.

    Each is free of at least one study of `found`, so cutting ends.
    """
    first, last = match.dates or (None, None)
    if first is None or first != last:
        days = sorted(day for one in found.values() if (day := _day(one.study_date)) is not None)
        days = [day for day in days if (first is None or day >= first) and (last is None or day <= last)]
        if days:
            yield from (replace(match, dates=dates) for dates in _date_ranges(days, first, last))
        return
    start, end = match.seconds or (0, LAST_SECOND)
    times = sorted(at for one in found.values() if (at := _second(one.study_time)) is not None)
    times = [at for at in times if start <= at <= end]
    if start == end or not times:
        return
    middle = times[len(times) // 2]
    cut = middle if middle > start else middle + 1
    yield replace(match, seconds=(start, cut - 1))
    yield replace(match, seconds=(cut, end))


def _date_ranges(days: list[date], first: date | None, last: date | None) -> Iterator[tuple[date | None, date | None]]:
    middle = days[len(days) // 2]
    if days[0] < middle:
        yield first, middle - _DAY
        yield middle, last
    elif middle < days[-1]:
        yield first, middle
        yield middle + _DAY, last
    else:
        if first != middle and middle > date.min:
            yield first, middle - _DAY
        yield middle, middle
        if last != middle and middle < date.max:
            yield middle + _DAY, last


def _day(text: str) -> date | None:
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:8]))
    except ValueError:
        return None


def _second(text: str) -> int | None:
    try:
        hour, minute, second = int(text[:2]), int(text[2:4] or 0), int(text[4:6] or 0)
    except ValueError:
        return None
    at = hour * 3600 + minute * 60 + second
    return at if 0 <= at <= LAST_SECOND else None
