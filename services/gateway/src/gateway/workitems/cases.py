"""Every case that somebody has a part in, by the lists the consult service keeps for them."""

import asyncio
from collections.abc import Collection, Mapping
from typing import Any

from gateway.consult_desk.boxes import boxes_of
from gateway.consult_desk.ports import ConsultDesk

Case = Mapping[str, Any]
PAGE = 200
MAX_CASES = 2000
"""Of one list: whoever has more narrows the search, by state."""
MAX_STATES = 6
"""So many states are asked for one by one; of more all are read, and what does not fit is left out."""
AT_ONCE = 4


class TooManyCases(Exception):
    """The search would have to read more cases than it may."""


class CaseLists:
    """Reads with the asker's own token, so that nobody is shown more than the consult service shows them."""

    def __init__(self, desk: ConsultDesk) -> None:
        self._desk = desk

    async def of(self, token: str, roles: frozenset[str], states: Collection[str] | None = None) -> list[Case]:
        """The cases in these states (None: in any), the newest first; drafts are nobody's work yet.

        Raises
        ------
        TooManyCases
            More than `MAX_CASES` lie in one list.
        ConsultUnavailable, ConsultRefused
            As the consult service answers.
        """
        boxes = [box for box in boxes_of(roles) if box != "drafts"]
        if states is not None and not states:
            return []
        asked = sorted(states) if states is not None and len(states) <= MAX_STATES else [""]
        room = asyncio.Semaphore(AT_ONCE)

        async def read(box: str, state: str) -> list[Case]:
            async with room:
                return await self._box(token, box, state)

        lists = await asyncio.gather(*(read(box, state) for box in boxes for state in asked))
        found = {case["id"]: case for one in lists for case in one}
        fitting = [case for case in found.values() if states is None or case["state"] in states]
        return sorted(fitting, key=lambda case: (begun_at(case), case["number"]), reverse=True)

    async def one(self, token: str, consult_id: str) -> Case:
        """One case; `ConsultNotFound`: it is none of theirs."""
        return await self._desk.case(token, consult_id)

    async def _box(self, token: str, box: str, state: str) -> list[Case]:
        found: list[Case] = []
        narrowed = {"state": state} if state else {}
        while True:
            page, more = await self._desk.box(token, {"box": box, **narrowed, "limit": PAGE, "offset": len(found)})
            found += page
            if not more:
                return found
            if len(found) >= MAX_CASES:
                raise TooManyCases(f"more than {MAX_CASES} cases: narrow the search by state")


def begun_at(case: Case) -> str:
    """When it was submitted, else begun; ISO 8601 in UTC, so that texts sort as times do."""
    return str(case.get("submitted_at") or case.get("created_at") or "")


def changed_at(case: Case) -> str:
    """When its last transition was."""
    timeline = case.get("timeline") or []
    return str(timeline[-1]["at"]) if timeline else begun_at(case)


def last_reason(case: Case) -> str:
    """Why the last transition was made, where it says so."""
    timeline = case.get("timeline") or []
    return str(timeline[-1].get("reason") or "") if timeline else ""


def wanted_at(case: Case) -> str:
    """Until when the report is wanted: the time limit, else what the applicant wished; empty: nobody said."""
    limits = [limit for limit in case.get("limits") or () if limit["name"] == "report"]
    return str(limits[0]["due_at"] if limits else case.get("desired_at") or "")
