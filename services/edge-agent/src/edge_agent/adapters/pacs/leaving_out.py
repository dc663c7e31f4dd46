"""The PACS without what the region wrote back into it: reports of consults are not the hospital's own images."""

import asyncio
from dataclasses import dataclass, field

from edge_agent.pacs_model import (
    MODALITIES,
    SERIES_UID,
    SOP_UID,
    STUDY_INSTANCE_COUNT,
    STUDY_SERIES_COUNT,
    STUDY_UID,
    DicomJson,
    Found,
    StudyMatch,
    number,
    text,
)
from edge_agent.ports import PacsQuery, WrittenBack

MODALITY = "00080060"


class OwnContents:
    """`PacsQuery` whose answers leave written-back objects out, in lists and in counts.

    A question about one study counts what it has besides. Sweeps, which ask for no series, lower the PACS's counts by
    as many objects as were seen then: where that is not so any longer the study is looked at again, and nothing is new.
    """

    def __init__(self, query: PacsQuery, written: WrittenBack) -> None:
        self.gives_headers = query.gives_headers
        self._query = query
        self._written = written
        self._hospitals_own: set[str] = set()
        """Studies of a PACS without counts that were seen to have something of its own."""

    async def studies(self, match: StudyMatch) -> Found:
        """See `PacsQuery`; a study of written-back objects alone is left out."""
        found = await self._query.studies(match)
        touched = await asyncio.to_thread(self._written.studies)
        kept = []
        for answer in found.studies:
            if text(answer, STUDY_UID) in touched:
                one = await self._without(answer, look=bool(match.study_uid))
                if one is not None:
                    kept.append(one)
            else:
                kept.append(answer)
        found.studies = kept
        return found

    async def series(self, study_uid: str) -> list[DicomJson]:
        """See `PacsQuery`; a series of written-back objects alone has no instances, but is listed."""
        return await self._query.series(study_uid)

    async def instances(self, study_uid: str, series_uid: str) -> list[DicomJson]:
        """See `PacsQuery`."""
        return await self._filtered(study_uid, await self._query.instances(study_uid, series_uid))

    async def headers(self, study_uid: str, series_uid: str) -> list[DicomJson]:
        """See `PacsQuery`."""
        return await self._filtered(study_uid, await self._query.headers(study_uid, series_uid))

    async def close(self) -> None:
        """See `PacsQuery`."""
        await self._query.close()

    async def _filtered(self, study_uid: str, answers: list[DicomJson]) -> list[DicomJson]:
        written = await asyncio.to_thread(self._written.of_study, study_uid)
        return [one for one in answers if text(one, SOP_UID) not in written] if written else answers

    async def _without(self, answer: DicomJson, *, look: bool) -> DicomJson | None:
        """The study's answer as if nothing had been written back; None: it has nothing else."""
        study_uid = text(answer, STUDY_UID)
        instances = number(answer, STUDY_INSTANCE_COUNT)
        written = len(await asyncio.to_thread(self._written.of_study, study_uid))
        unsure = study_uid not in self._hospitals_own if instances is None else instances <= written
        if look or unsure:
            own = await self._look(study_uid)
            if not own.instances:
                return None
            self._hospitals_own.add(study_uid)
            return own.put_into(answer)
        return _lowered(answer, *await asyncio.to_thread(self._written.present, study_uid))

    async def _look(self, study_uid: str) -> "_Own":
        """What is the hospital's own in a study; what else is there is remembered."""
        written = await asyncio.to_thread(self._written.of_study, study_uid)
        own = _Own()
        seen: dict[str, str] = {}
        for series in await self._query.series(study_uid):
            series_uid = text(series, SERIES_UID)
            members = {text(one, SOP_UID) for one in await self._query.instances(study_uid, series_uid)}
            seen |= dict.fromkeys(members & written, series_uid)
            if members - written or not members:
                own.series += 1
                own.instances += len(members - written)
                own.modalities.add(text(series, MODALITY))
        await asyncio.to_thread(self._written.saw, study_uid, seen)
        return own


@dataclass(slots=True)
class _Own:
    """What a study has besides."""

    series: int = 0
    instances: int = 0
    modalities: set[str] = field(default_factory=set)

    def put_into(self, answer: DicomJson) -> DicomJson:
        """The answer with these counts, where it has any."""
        changed = dict(answer)
        for tag, count in ((STUDY_SERIES_COUNT, self.series), (STUDY_INSTANCE_COUNT, self.instances)):
            if number(answer, tag) is not None:
                changed[tag] = {**answer[tag], "Value": [count]}
        if told := answer.get(MODALITIES, {}).get("Value"):
            kept = [one for one in told if str(one) in self.modalities]
            changed[MODALITIES] = {**answer[MODALITIES], "Value": kept or told}
        return changed


def _lowered(answer: DicomJson, series: int, instances: int) -> DicomJson:
    changed = dict(answer)
    for tag, by in ((STUDY_SERIES_COUNT, series), (STUDY_INSTANCE_COUNT, instances)):
        told = number(answer, tag)
        if told is not None:
            changed[tag] = {**answer[tag], "Value": [max(0, told - by)]}
    return changed
