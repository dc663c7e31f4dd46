"""Dead letters, looked at and sent back to where they came from."""

import asyncio
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

import structlog
from pymongo.errors import PyMongoError

from gateway.operations.model import operates_region
from gateway.operations.ports import DeadLetters, ReplayBook
from gateway.retrievals.edges import Clock, utc_now
from imaging_common.audit import AuditTrail, Outcome, who
from imaging_common.auth import Claims
from imaging_common.contracts.topics import TopicContract
from imaging_common.errors import ImagingError
from imaging_common.messaging.dead_letters import DeadLetter, DeadTopic
from imaging_common.messaging.topics import DEAD_LETTER_INFIX, source_topic, topic_pattern

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """Records of one topic on their way back."""

    topic: str
    total: int
    done: int = 0
    state: Literal["running", "done", "failed"] = "running"
    error: str = ""
    by: str = ""
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class TopicState:
    """A dead letter topic, and what was done with it."""

    topic: DeadTopic
    source: str
    service: str
    contract: TopicContract | None
    waiting: int
    job: Job | None = None


class LetterDesk:
    """One copy's; replays of one topic run one after another, and their progress is this copy's."""

    def __init__(
        self,
        letters: DeadLetters,
        book: ReplayBook,
        audit: AuditTrail,
        contracts: Sequence[TopicContract],
        clock: Clock = utc_now,
    ) -> None:
        self._letters = letters
        self._book = book
        self._audit = audit
        self._contracts = contracts
        self._clock = clock
        self._jobs: dict[str, Job] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def topics(self, claims: Claims) -> list[TopicState]:
        """What the person may know of: the region's operator all, a hospital's those of its own topics."""
        found = [topic for topic in await self._letters.topics() if self.may_see(claims, topic.name)]
        return [await self._state(topic) for topic in found]

    async def state(self, claims: Claims, name: str) -> TopicState | None:
        """One of them; None: there is none, or they may not know."""
        return next((one for one in await self.topics(claims) if one.topic.name == name), None)

    async def entries(self, state: TopicState, limit: int, before: int | None) -> list[tuple[DeadLetter, bool]]:
        """The newest records, each with whether it was sent back."""
        book = await self._book.of(state.topic.name)
        found = await self._letters.entries(state.topic.name, limit, before=before)
        return [(one, _was_replayed(state.topic, one.place, book)) for one in found]

    def job(self, claims: Claims, name: str) -> Job | None:
        """The last replay of a topic by this copy, as far as they may know."""
        return self._jobs.get(name) if DEAD_LETTER_INFIX in name and self.may_see(claims, name) else None

    async def one(self, state: TopicState, place: tuple[int, int]) -> DeadLetter | None:
        """One record."""
        return next(iter(await self._letters.some(state.topic.name, [place])), None)

    def may_see(self, claims: Claims, name: str) -> bool:
        """Whether they may know of this topic."""
        if operates_region(claims):
            return True
        contract = self._contract(source_topic(name))
        if contract is None or "<hospital>" not in contract.name or "hospital-operator" not in claims.roles:
            return False
        return bool(claims.hospital) and source_topic(name) == contract.name.replace("<hospital>", claims.hospital)

    def shows_payload(self, claims: Claims, state: TopicState) -> bool:
        """Whether they may read what the records carry: never where that can be personal data."""
        return operates_region(claims) and state.contract is not None and not state.contract.personal_data

    async def replay(self, claims: Claims, state: TopicState, places: Collection[tuple[int, int]] | None) -> bool:
        """Begin to send back these records (None: all that were not); False: no right, nothing to do, or one runs.

        Raises
        ------
        PublishFailed
            It cannot be recorded, and is not done.
        """
        topic = state.topic.name
        if not operates_region(claims):
            await self._record(claims, topic, 0, "denied", "not-an-operator")
            return False
        running = self._jobs.get(topic)
        total = state.waiting if places is None else len(places)
        if total == 0 or (running is not None and running.state == "running"):
            return False
        self._jobs[topic] = Job(topic, total, by=claims.user, at=self._clock())
        try:
            await self._record(claims, topic, total, "success")
        except ImagingError:
            del self._jobs[topic]
            raise
        task = asyncio.create_task(self._run(claims, topic, places))
        self._tasks[topic] = task
        task.add_done_callback(lambda _: self._tasks.pop(topic, None))
        return True

    async def finish(self) -> None:
        """Wait for what is under way."""
        await asyncio.gather(*self._tasks.values())

    async def _run(self, claims: Claims, topic: str, places: Collection[tuple[int, int]] | None) -> None:
        async def one_more(place: tuple[int, int]) -> None:
            await self._book.add(topic, place, claims.user)
            self._told(topic, self._jobs[topic].done + 1)

        try:
            if places is None:
                done = await self._letters.replay_all(
                    topic, await self._book.of(topic), lambda count: self._told(topic, count)
                )
            else:
                done = await self._letters.replay_some(topic, places, one_more)
            self._jobs[topic] = replace(self._jobs[topic], state="done", done=done)
        except (ImagingError, PyMongoError, ValueError) as error:
            _log.warning("replay-failed", topic=topic, error=type(error).__name__)
            self._jobs[topic] = replace(self._jobs[topic], state="failed", error=type(error).__name__)
            await self._record(claims, topic, self._jobs[topic].done, "failed", type(error).__name__)

    def _told(self, topic: str, count: int) -> None:
        self._jobs[topic] = replace(self._jobs[topic], done=count)

    async def _state(self, topic: DeadTopic) -> TopicState:
        source = source_topic(topic.name)
        singly = {
            (partition, offset)
            for partition, offset in await self._book.of(topic.name)
            if topic.first_waiting(partition) <= offset < topic.ends.get(partition, 0)
        }
        service = topic.name.removeprefix(f"{source}-dlq-")
        contract = self._contract(source)
        return TopicState(topic, source, service, contract, topic.waiting - len(singly), self._jobs.get(topic.name))

    def _contract(self, source: str) -> TopicContract | None:
        named = (one for one in self._contracts if re.fullmatch(topic_pattern(one.name), source))
        return next(named, None)

    async def _record(self, claims: Claims, topic: str, count: int, outcome: Outcome, why: str = "") -> None:
        await self._audit.record(
            action="replay",
            outcome=outcome,
            **who(claims),
            reason=f"{topic}: {why}" if why else topic,
            count=count,
        )


def _was_replayed(topic: DeadTopic, place: tuple[int, int], book: set[tuple[int, int]]) -> bool:
    partition, offset = place
    return place in book or offset < topic.replayed.get(partition, 0)
