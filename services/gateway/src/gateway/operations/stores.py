"""The operators' pages in MongoDB: what edge agents said, tests, how much lies where, what was replayed."""

from datetime import UTC, datetime
from typing import Any

from pymongo import ASCENDING, DESCENDING
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from gateway.operations.model import BacklogSample, DayOfUse, Echo, tiers_of
from imaging_common.events import EchoAnswered, EdgeHeartbeat, StorageMeasured
from imaging_common.mongo import ensure_index

DEADLINE_MS = 5_000
KEEP_LOG_SECONDS = 48 * 3600
KEEP_ECHOES_SECONDS = 24 * 3600
KEEP_DAYS_SECONDS = 400 * 24 * 3600
KEEP_REPLAYS_SECONDS = 31 * 24 * 3600
"""A day longer than the dead letter topics keep a record."""
BETWEEN_ANNOUNCEMENTS_SECONDS = 5.0
LATEST = "latest"


class MongoEdgeLog:
    """`EdgeLog`: one document a hospital and minute; each copy of the gateway writes the same."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]]) -> None:
        self._log = database["edge_log"]
        self._announcements = database["announcements"]
        self._written: dict[str, int] = {}
        self._announced: dict[str, datetime] = {}

    async def prepare(self) -> None:
        """Create the indexes."""
        await self._log.create_index([("hospital", 1), ("at", 1)])
        await ensure_index(self._log, "at", expireAfterSeconds=KEEP_LOG_SECONDS)

    async def heard(self, hospital: str, heartbeat: EdgeHeartbeat, at: datetime) -> None:
        """See `EdgeLog.heard`."""
        minute = int(at.timestamp() // 60)
        if self._written.get(hospital) == minute:
            return
        names = {"backlog_instances", "backlog_bytes", "spool_bytes"}
        document = {"hospital": hospital, "at": at, **heartbeat.model_dump(include=names)}
        await self._log.replace_one({"_id": f"{hospital}/{minute}"}, document, upsert=True)
        self._written[hospital] = minute

    async def announced(self, hospital: str, at: datetime) -> None:
        """See `EdgeLog.announced`; within seconds of the last one it is left out."""
        last = self._announced.get(hospital)
        if last is not None and (at - last).total_seconds() < BETWEEN_ANNOUNCEMENTS_SECONDS:
            return
        await self._announcements.update_one({"_id": hospital}, {"$max": {"at": at}}, upsert=True)
        self._announced[hospital] = at

    async def announcements(self) -> dict[str, datetime]:
        """See `EdgeLog.announcements`."""
        return {one["_id"]: one["at"] async for one in self._announcements.find({}, max_time_ms=DEADLINE_MS)}

    async def history(self, hospital: str, since: datetime) -> list[BacklogSample]:
        """See `EdgeLog.history`."""
        found = self._log.find({"hospital": hospital, "at": {"$gte": since}}, max_time_ms=DEADLINE_MS)
        return [
            BacklogSample(one["at"], one["backlog_instances"], one["backlog_bytes"], one["spool_bytes"])
            async for one in found.sort("at", ASCENDING)
        ]


class MongoEchoes:
    """`EchoStore`."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]]) -> None:
        self._echoes = database["echoes"]

    async def prepare(self) -> None:
        """Create the indexes."""
        await self._echoes.create_index([("hospital", 1), ("requested_at", -1)])
        await ensure_index(self._echoes, "requested_at", expireAfterSeconds=KEEP_ECHOES_SECONDS)

    async def begin(self, echo: Echo) -> None:
        """See `EchoStore.begin`."""
        await self._echoes.insert_one({"_id": echo.echo_id, **echo.model_dump()})

    async def answer(self, hospital: str, event: EchoAnswered) -> None:
        """See `EchoStore.answer`."""
        change = {"reason": event.reason, "milliseconds": event.milliseconds, "answered_at": event.at}
        await self._echoes.update_one({"_id": event.echo_id, "hospital": hospital, "reason": None}, {"$set": change})

    async def latest(self, hospital: str) -> Echo | None:
        """See `EchoStore.latest`."""
        newest = [("requested_at", DESCENDING)]
        found = await self._echoes.find_one({"hospital": hospital}, sort=newest, max_time_ms=DEADLINE_MS)
        return None if found is None else Echo.model_validate(found)


class MongoUsage:
    """`UsageStore`: the last sums, and one document a day."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]]) -> None:
        self._usage = database["usage"]
        self._days = database["usage_days"]

    async def prepare(self) -> None:
        """Create the indexes."""
        await ensure_index(self._days, "at", expireAfterSeconds=KEEP_DAYS_SECONDS)

    async def measured(self, event: StorageMeasured) -> None:
        """See `UsageStore.measured`."""
        older = {"_id": LATEST, "measured_at": {"$lt": event.measured_at}}
        try:
            await self._usage.replace_one(older, event.model_dump(), upsert=True)
        except DuplicateKeyError:
            return  # Something newer is known.
        sums = {f"tiers.{tier}": sums for tier, sums in tiers_of(event).items()}
        await self._set_day(event.measured_at, sums)

    async def spooled(self, hospital: str, spool_bytes: int, at: datetime) -> None:
        """See `UsageStore.spooled`."""
        await self._set_day(at, {f"tiers.spool.{hospital}": spool_bytes})

    async def latest(self) -> StorageMeasured | None:
        """See `UsageStore.latest`."""
        found = await self._usage.find_one({"_id": LATEST}, max_time_ms=DEADLINE_MS)
        return None if found is None else StorageMeasured.model_validate(found)

    async def days(self, since: datetime) -> list[DayOfUse]:
        """See `UsageStore.days`."""
        found = self._days.find({"_id": {"$gte": _day(since)}}, max_time_ms=DEADLINE_MS).sort("_id", ASCENDING)
        return [DayOfUse(one["_id"], one.get("tiers", {})) async for one in found]

    async def _set_day(self, at: datetime, change: dict[str, Any]) -> None:
        await self._days.update_one({"_id": _day(at)}, {"$set": {"at": at, **change}}, upsert=True)


class MongoReplays:
    """`ReplayBook`: one document a record."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]]) -> None:
        self._replays = database["replays"]

    async def prepare(self) -> None:
        """Create the indexes."""
        await self._replays.create_index("topic")
        await ensure_index(self._replays, "at", expireAfterSeconds=KEEP_REPLAYS_SECONDS)

    async def add(self, topic: str, place: tuple[int, int], user: str) -> None:
        """See `ReplayBook.add`."""
        partition, offset = place
        document = {"topic": topic, "partition": partition, "offset": offset, "user": user, "at": datetime.now(UTC)}
        await self._replays.replace_one({"_id": f"{topic}/{partition}/{offset}"}, document, upsert=True)

    async def of(self, topic: str) -> set[tuple[int, int]]:
        """See `ReplayBook.of`."""
        found = self._replays.find({"topic": topic}, max_time_ms=DEADLINE_MS)
        return {(one["partition"], one["offset"]) async for one in found}


def _day(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d}"
