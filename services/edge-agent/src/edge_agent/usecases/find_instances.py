"""Finds the instances that a retrieval means: in what is known of the PACS, else by asking it."""

import asyncio

from edge_agent.model import PacsInstance
from edge_agent.pacs_model import number, text
from edge_agent.ports import PacsContents, PacsQuery
from edge_agent.retrievals import Retrieval, select_wanted
from imaging_common.ids import is_uid

_SERIES, _SOP_CLASS, _SOP_INSTANCE = "0020000E", "00080016", "00080018"
_SERIES_NUMBER, _INSTANCE_NUMBER, _SYNTAX = "00200011", "00200013", "00083002"


class FindInstances:
    """One per agent."""

    def __init__(self, contents: PacsContents, query: PacsQuery) -> None:
        self._contents = contents
        self._query = query

    async def wanted(self, retrieval: Retrieval) -> list[PacsInstance]:
        """What is wanted, in order; empty: the PACS has no such study.

        Raises
        ------
        PacsUnreachable, PacsRefused
            The PACS had to be asked and did not answer.
        """
        known = await asyncio.to_thread(self._contents.instances, retrieval.study_uid)
        wanted = select_wanted(known, retrieval)
        if wanted is None:
            wanted = select_wanted(await self._ask(retrieval), retrieval)
        return wanted or []

    async def _ask(self, retrieval: Retrieval) -> list[PacsInstance]:
        study_uid = retrieval.study_uid
        asked = {one.series_uid for one in retrieval.series}
        answers = await self._query.series(study_uid)
        answers.sort(key=lambda one: number(one, _SERIES_NUMBER) or 0)
        found: list[PacsInstance] = []
        for series_uid in filter(is_uid, [text(one, _SERIES) for one in answers]):
            if asked and series_uid not in asked:
                continue
            members = [
                PacsInstance(
                    study_uid,
                    series_uid,
                    text(one, _SOP_INSTANCE),
                    text(one, _SOP_CLASS),
                    number(one, _INSTANCE_NUMBER),
                    text(one, _SYNTAX) or None,
                )
                for one in await self._query.instances(study_uid, series_uid)
                if is_uid(text(one, _SOP_INSTANCE))
            ]
            found += sorted(members, key=lambda one: one.instance_number or 0)
        return found
