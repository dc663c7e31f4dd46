"""`ReportBook` and `PhraseBook` on MongoDB: collections `report_versions`, `report_tasks` and `phrases`."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pymongo import ReturnDocument
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase

from consult.model import Report
from consult.ports import Writing
from consult.reports.model import OutputsTask, Stage
from consult.reports.phrases import Phrase
from consult.reports.ports import LeaseLost
from imaging_common.mongo import ensure_index

Document = dict[str, Any]


class MongoReportBook:
    """One task a version; the versions themselves are written with their transition."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._versions = database["report_versions"]
        self._tasks = database["report_tasks"]
        self._phrases = database["phrases"]

    async def prepare(self) -> None:
        """Make the indexes."""
        open_tasks = {"stage": {"$in": [stage.value for stage in Stage if stage is not Stage.DONE]}}
        await ensure_index(self._tasks, [("due_at", 1)], partialFilterExpression=open_tasks)
        await ensure_index(self._tasks, [("consult_id", 1), ("version", 1)], unique=True)
        await ensure_index(self._tasks, [("verification_code", 1)], unique=True)
        await self._tasks.create_index([("write_back_id", 1)])

    async def versions(self, consult_id: str) -> list[Report]:
        """See `ReportBook.versions`."""
        found = await self._versions.find({"consult_id": consult_id}).sort("version", 1).to_list()
        tasks = await self._tasks.find({"consult_id": consult_id}, {"version": 1, "outputs": 1}).to_list()
        made = {task["version"]: task["outputs"] for task in tasks}
        return [Report.model_validate({**one, "outputs": made.get(one["version"], one["outputs"])}) for one in found]

    async def task(self, consult_id: str, version: int) -> OutputsTask | None:
        """See `ReportBook.task`."""
        return _task(await self._tasks.find_one({"consult_id": consult_id, "version": version}))

    async def by_code(self, code: str) -> OutputsTask | None:
        """See `ReportBook.by_code`."""
        return _task(await self._tasks.find_one({"verification_code": code})) if code else None

    async def by_write_back(self, write_back_id: str) -> OutputsTask | None:
        """See `ReportBook.by_write_back`."""
        return _task(await self._tasks.find_one({"write_back_id": write_back_id})) if write_back_id else None

    async def claim(self, now: datetime, until: datetime) -> OutputsTask | None:
        """See `ReportBook.claim`."""
        open_stages = [stage.value for stage in Stage if stage is not Stage.DONE]
        return _task(
            await self._tasks.find_one_and_update(
                {"stage": {"$in": open_stages}, "due_at": {"$lte": now}},
                {"$set": {"due_at": until}},
                sort=[("due_at", 1)],
                return_document=ReturnDocument.AFTER,
            )
        )

    def adding(self, task: OutputsTask) -> Writing:
        """See `ReportBook.adding`."""

        async def write(session: AsyncClientSession) -> None:
            await self._tasks.replace_one({"_id": task.id}, _document(task), upsert=True, session=session)

        return write

    def keeping(self, task: OutputsTask, lease: datetime) -> Writing:
        """See `ReportBook.keeping`."""

        async def write(session: AsyncClientSession) -> None:
            mine = {"_id": task.id, "due_at": lease}
            done = await self._tasks.replace_one(mine, _document(task), session=session)
            if not done.matched_count:
                raise LeaseLost

        return write

    async def phrases(self, user: str) -> list[Phrase]:
        """See `PhraseBook.phrases`."""
        found = await self._phrases.find_one({"_id": user})
        return [Phrase.model_validate(one) for one in found["phrases"]] if found else []

    async def keep_phrases(self, user: str, phrases: Sequence[Phrase]) -> None:
        """See `PhraseBook.keep_phrases`."""
        document = {"phrases": [one.model_dump() for one in phrases]}
        await self._phrases.replace_one({"_id": user}, document, upsert=True)


def _document(task: OutputsTask) -> Document:
    return task.model_dump(exclude={"id"})


def _task(document: Mapping[str, Any] | None) -> OutputsTask | None:
    return OutputsTask.model_validate({"id": document["_id"], **document}) if document else None
