"""Rules of the edge agent without I/O: who may call, what makes a batch, when a study is quiet."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path


class State(StrEnum):
    """Where an instance is on its way."""

    RECEIVED = "received"
    SENT = "sent"
    """The centre's ingest answered that it is durable there."""
    STORED = "stored"
    """The archive's receipt is here; the copy is in the ring, or gone."""
    REJECTED = "rejected"
    """The centre refused it, with a reason; it lies in quarantine for a person to look at."""


class Outcome(StrEnum):
    """What became of an instance that was offered to the spool."""

    NEW = "new"
    DUPLICATE = "duplicate"
    """The same bytes were acknowledged before."""
    REJECTED = "rejected"
    """The same bytes were refused by the centre before."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """An instance whose file lies in the spool, synced, and that the journal does not know yet."""

    study_uid: str
    series_uid: str
    sop_instance_uid: str
    sha256: str
    length: int
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class SpooledInstance:
    """An instance that the journal knows."""

    number: int
    """Counts arrivals."""
    study_uid: str
    sop_instance_uid: str
    sha256: str
    length: int
    traceparent: str | None = None


def forward_id(hospital: str, first: SpooledInstance) -> str:
    """The retrieval id of a batch that devices forwarded, by its first instance."""
    return hashlib.sha256(f"forward/{hospital}/{first.number}/{first.sha256}".encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Usage:
    """What lies in the spool, in instances and bytes by state."""

    instances: dict[State, int]
    bytes: dict[State, int]

    @property
    def backlog_instances(self) -> int:
        """Acknowledged, but without the archive's receipt."""
        return self.instances[State.RECEIVED] + self.instances[State.SENT]

    @property
    def backlog_bytes(self) -> int:
        """Bytes of the backlog."""
        return self.bytes[State.RECEIVED] + self.bytes[State.SENT]

    @property
    def held_bytes(self) -> int:
        """Bytes that nothing may delete: the backlog and the quarantine. They count against the spool's limit."""
        return self.backlog_bytes + self.bytes[State.REJECTED]

    @property
    def ring_bytes(self) -> int:
        """Bytes of copies whose receipt is here."""
        return self.bytes[State.STORED]

    def ring_excess(self, ring_limit: int, spool_limit: int) -> int:
        """Bytes by which the ring is too large: it has a limit of its own and makes way for what must be held."""
        return max(0, self.ring_bytes - max(0, min(ring_limit, spool_limit - self.held_bytes)))


class AllowList:
    """The callers that may associate, from `AE@address,…`; either part may be `*`.

    >>> AllowList("CT1@10.0.0.5, *@127.0.0.1").allows("CT1", "10.0.0.9")
    False
    """

    def __init__(self, rules: str) -> None:
        self._rules = [
            (ae_title.strip(), address.strip())
            for ae_title, _, address in (rule.partition("@") for rule in rules.split(","))
            if ae_title.strip() and address.strip()
        ]

    def allows(self, ae_title: str, address: str) -> bool:
        """Whether this AE title may call from this address; without a title, whether anybody may from there."""
        return any(
            allowed_address in ("*", address) and (not ae_title or allowed_title in ("*", ae_title))
            for allowed_title, allowed_address in self._rules
        )


def take_batch(
    waiting: Iterable[SpooledInstance], *, first: bool, first_instances: int, batch_bytes: int, alone: set[int]
) -> list[SpooledInstance]:
    """The next batch of one study's waiting instances, in order of arrival.

    Parameters
    ----------
    first
        Nothing of the study was sent yet: at most `first_instances`.
    batch_bytes
        At most so many bytes, or one larger instance.
    alone
        Numbers of instances that go one a batch, because a batch with them was refused.

    Returns
    -------
    list
        A prefix of `waiting` in which no SOP Instance UID occurs twice: the centre's answer names UIDs.
    """
    batch: list[SpooledInstance] = []
    seen: set[str] = set()
    size = 0
    for instance in waiting:
        full = size + instance.length > batch_bytes or (first and len(batch) >= first_instances)
        if batch and (full or instance.sop_instance_uid in seen or instance.number in alone):
            break
        batch.append(instance)
        seen.add(instance.sop_instance_uid)
        size += instance.length
        if instance.number in alone:
            break
    return batch


@dataclass(slots=True)
class QuietTimer:
    """Tells which studies have not changed for a while; by a monotonic clock, so a wrong wall clock changes nothing."""

    quiet_seconds: float
    _since: dict[str, tuple[int, float]] = field(default_factory=dict)

    def quiet(self, last_numbers: dict[str, int], now: float) -> list[str]:
        """Of the studies to announce, with the number of each one's last arrival, those that are quiet."""
        self._since = {study: seen for study, seen in self._since.items() if study in last_numbers}
        found = []
        for study, number in last_numbers.items():
            seen = self._since.get(study)
            if seen is None or seen[0] != number:
                self._since[study] = (number, now)
            elif now - seen[1] >= self.quiet_seconds:
                found.append(study)
        return found


@dataclass(frozen=True, slots=True)
class PacsInstance:
    """An instance that the hospital's PACS lists."""

    study_uid: str
    series_uid: str
    sop_instance_uid: str
    sop_class_uid: str = ""
    instance_number: int | None = None
    transfer_syntax_uid: str | None = None
    """Where the PACS says it (0008,3002)."""


@dataclass(frozen=True, slots=True)
class KeptReport:
    """A report that is acknowledged to its sender."""

    number: int
    sha256: str
    media_type: str


@dataclass(frozen=True, slots=True)
class ReportCounts:
    """How many reports, and orders' messages, are where."""

    waiting: int
    sent: int
    refused: int
    orders: int
    held_bytes: int
    """Of those that wait or are refused."""


@dataclass(frozen=True, slots=True)
class RetrievedFile:
    """A Part 10 file that the PACS gave, on its way to the centre; it passed the gate."""

    path: Path
    study_uid: str
    sop_instance_uid: str
    length: int
