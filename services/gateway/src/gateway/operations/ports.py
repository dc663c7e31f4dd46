"""What the operators' pages need of the world, with the fakes that stand in for it."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime
from typing import Protocol

from gateway.operations.model import BacklogSample, DayOfUse, Echo
from imaging_common.events import EchoAnswered, EdgeHeartbeat, StorageMeasured
from imaging_common.messaging.dead_letters import DeadLetter, DeadTopic


class EdgeLog(Protocol):
    """What edge agents said of themselves in the last days."""

    async def heard(self, hospital: str, heartbeat: EdgeHeartbeat, at: datetime) -> None:
        """Keep it, about once a minute."""
        ...

    async def announced(self, hospital: str, at: datetime) -> None:
        """The hospital announced a study then."""
        ...

    async def announcements(self) -> dict[str, datetime]:
        """Per hospital when it last announced a study."""
        ...

    async def history(self, hospital: str, since: datetime) -> list[BacklogSample]:
        """What it said since then, oldest first."""
        ...


class EchoStore(Protocol):
    """Tests of the hospitals' PACS; a day."""

    async def begin(self, echo: Echo) -> None:
        """Keep that somebody asked."""
        ...

    async def answer(self, hospital: str, event: EchoAnswered) -> None:
        """Keep the answer to a test of that hospital; of none that is known: nothing happens."""
        ...

    async def latest(self, hospital: str) -> Echo | None:
        """The last test."""
        ...


class UsageStore(Protocol):
    """How much lay where, day by day."""

    async def measured(self, event: StorageMeasured) -> None:
        """Keep it, unless something newer is known."""
        ...

    async def spooled(self, hospital: str, spool_bytes: int, at: datetime) -> None:
        """Keep what an edge agent's spool held that day."""
        ...

    async def latest(self) -> StorageMeasured | None:
        """The last sums of the store keeper."""
        ...

    async def days(self, since: datetime) -> list[DayOfUse]:
        """Day by day, oldest first."""
        ...


class DeadLetters(Protocol):
    """The dead letter topics."""

    async def topics(self) -> list[DeadTopic]:
        """Those that hold something."""
        ...

    async def entries(self, topic: str, limit: int, *, before: int | None = None) -> list[DeadLetter]:
        """The newest, newest first."""
        ...

    async def some(self, topic: str, places: Collection[tuple[int, int]]) -> list[DeadLetter]:
        """These records."""
        ...

    async def replay_all(self, topic: str, skip: Collection[tuple[int, int]], told: Callable[[int], None]) -> int:
        """Send back all but those, in order; how many."""
        ...

    async def replay_some(
        self,
        topic: str,
        places: Collection[tuple[int, int]],
        told: Callable[[tuple[int, int]], Awaitable[object]],
    ) -> int:
        """Send back these; how many."""
        ...


class ReplayBook(Protocol):
    """Which dead letters were sent back one by one."""

    async def add(self, topic: str, place: tuple[int, int], user: str) -> None:
        """This one was."""
        ...

    async def of(self, topic: str) -> set[tuple[int, int]]:
        """(partition, offset) of all that were."""
        ...


class FakeEdgeLog:
    """`EdgeLog` in memory; keeps every heartbeat."""

    def __init__(self) -> None:
        self.samples: dict[str, list[BacklogSample]] = {}
        self.announced_at: dict[str, datetime] = {}

    async def heard(self, hospital: str, heartbeat: EdgeHeartbeat, at: datetime) -> None:
        """See `EdgeLog.heard`."""
        sample = BacklogSample(at, heartbeat.backlog_instances, heartbeat.backlog_bytes, heartbeat.spool_bytes)
        self.samples.setdefault(hospital, []).append(sample)

    async def announced(self, hospital: str, at: datetime) -> None:
        """See `EdgeLog.announced`."""
        self.announced_at[hospital] = max(at, self.announced_at.get(hospital, at))

    async def announcements(self) -> dict[str, datetime]:
        """See `EdgeLog.announcements`."""
        return dict(self.announced_at)

    async def history(self, hospital: str, since: datetime) -> list[BacklogSample]:
        """See `EdgeLog.history`."""
        return [sample for sample in self.samples.get(hospital, []) if sample.at >= since]


class FakeEchoes:
    """`EchoStore` in memory."""

    def __init__(self) -> None:
        self.echoes: dict[str, Echo] = {}

    async def begin(self, echo: Echo) -> None:
        """See `EchoStore.begin`."""
        self.echoes[echo.hospital] = echo

    async def answer(self, hospital: str, event: EchoAnswered) -> None:
        """See `EchoStore.answer`."""
        known = self.echoes.get(hospital)
        if known is not None and known.echo_id == event.echo_id:
            update = {"reason": event.reason, "milliseconds": event.milliseconds, "answered_at": event.at}
            self.echoes[hospital] = known.model_copy(update=update)

    async def latest(self, hospital: str) -> Echo | None:
        """See `EchoStore.latest`."""
        return self.echoes.get(hospital)


class FakeUsage:
    """`UsageStore` in memory."""

    def __init__(self) -> None:
        self.event: StorageMeasured | None = None
        self.kept: list[DayOfUse] = []
        self.spools: dict[str, int] = {}

    async def measured(self, event: StorageMeasured) -> None:
        """See `UsageStore.measured`."""
        if self.event is None or self.event.measured_at < event.measured_at:
            self.event = event

    async def spooled(self, hospital: str, spool_bytes: int, at: datetime) -> None:
        """See `UsageStore.spooled`."""
        self.spools[hospital] = spool_bytes

    async def latest(self) -> StorageMeasured | None:
        """See `UsageStore.latest`."""
        return self.event

    async def days(self, since: datetime) -> list[DayOfUse]:
        """See `UsageStore.days`."""
        return list(self.kept)


class FakeDeadLetters:
    """`DeadLetters` in memory; `sent` is what went back, as (topic, partition, offset)."""

    def __init__(self, topics: Sequence[DeadTopic] = (), letters: Sequence[DeadLetter] = ()) -> None:
        self.held = list(topics)
        self.letters = list(letters)
        self.sent: list[tuple[str, int, int]] = []
        self.fail_with: Exception | None = None

    async def topics(self) -> list[DeadTopic]:
        """See `DeadLetters.topics`."""
        return list(self.held)

    async def entries(self, topic: str, limit: int, *, before: int | None = None) -> list[DeadLetter]:
        """See `DeadLetters.entries`."""
        mine = [one for one in self.letters if one.topic == topic and (before is None or one.offset < before)]
        return sorted(mine, key=lambda one: one.offset, reverse=True)[:limit]

    async def some(self, topic: str, places: Collection[tuple[int, int]]) -> list[DeadLetter]:
        """See `DeadLetters.some`."""
        return [one for one in self.letters if one.topic == topic and one.place in places]

    async def replay_all(self, topic: str, skip: Collection[tuple[int, int]], told: Callable[[int], None]) -> int:
        """See `DeadLetters.replay_all`."""
        if self.fail_with is not None:
            raise self.fail_with
        places = [one.place for one in self.letters if one.topic == topic and one.place not in skip]
        self.sent += [(topic, *place) for place in places]
        told(len(places))
        return len(places)

    async def replay_some(
        self,
        topic: str,
        places: Collection[tuple[int, int]],
        told: Callable[[tuple[int, int]], Awaitable[object]],
    ) -> int:
        """See `DeadLetters.replay_some`."""
        if self.fail_with is not None:
            raise self.fail_with
        mine = [one.place for one in self.letters if one.topic == topic and one.place in places]
        for place in mine:
            self.sent.append((topic, *place))
            await told(place)
        return len(mine)


class FakeReplayBook:
    """`ReplayBook` in memory."""

    def __init__(self) -> None:
        self.replayed: dict[str, set[tuple[int, int]]] = {}

    async def add(self, topic: str, place: tuple[int, int], user: str) -> None:
        """See `ReplayBook.add`."""
        self.replayed.setdefault(topic, set()).add(place)

    async def of(self, topic: str) -> set[tuple[int, int]]:
        """See `ReplayBook.of`."""
        return set(self.replayed.get(topic, set()))
