"""Rules of retrieving without I/O: what is wanted next, in which portions, and what becomes of what does not come."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from edge_agent.model import PacsInstance, RetrievedFile
from imaging_common.events import SeriesWanted
from imaging_common.events.edge import RetrieveReason

FIRST_CHUNK, LARGEST_CHUNK = 4, 32
WHOLE_SERIES_FROM = 24
"""Instances left of a series from which one request for the whole of it is worth while."""
FIRST_BATCH, BATCH_BYTES = 4, 24 << 20
TRIES = 4
"""How often an instance is asked for, and how often in a row the PACS may fail altogether."""
ALONE_FROM = 2
"""Tries after which an instance is asked for by itself, so that it costs no other."""

RETRY_ORIGINAL_SECONDS = 3600.0
ORIGINAL = "original:"
"""Before the study UID, in the id of a retrieval of the agent's own."""


@dataclass(frozen=True, slots=True)
class Retrieval:
    """What the journal knows of a retrieval."""

    retrieval_id: str
    revision: int
    study_uid: str
    priority: int
    deadline: float
    """Seconds since 1970."""
    series: tuple[SeriesWanted, ...] = ()
    first: tuple[str, ...] = ()
    traceparent: str | None = field(default=None, compare=False)
    """The trace of whoever asked; forgotten when the agent starts anew."""

    @property
    def original(self) -> bool:
        """Whether it copies a study for good, because the hospital moves to the central tier; nobody is told."""
        return self.retrieval_id.startswith(ORIGINAL)

    @property
    def urgency(self) -> tuple[int, float]:
        """Lower goes first."""
        return self.priority, self.deadline


@dataclass(frozen=True, slots=True)
class CopiedStudy:
    """A study of the PACS that was copied for good."""

    fingerprint: str
    """Of its instances then (`edge_agent.pacs_model.fingerprint`)."""
    missing: int
    """Instances that the PACS did not give."""
    tries: int
    at: float
    """Seconds since 1970."""

    def is_due(self, now: float) -> bool:
        """Whether what was missing is worth another try."""
        return bool(self.missing) and self.tries < TRIES and now - self.at > RETRY_ORIGINAL_SECONDS


@dataclass(frozen=True, slots=True)
class Chunk:
    """Instances of one series that are asked for together."""

    wanted: tuple[PacsInstance, ...]
    whole_series: bool = False


def select_wanted(known: Sequence[PacsInstance], retrieval: Retrieval) -> list[PacsInstance] | None:
    """What a request means, in the order of its series and `first` before all; None: more must be known of the study.

    Parameters
    ----------
    known
        The study's instances in order of series and instance number, as far as they are known.
    """
    if not retrieval.series:
        chosen = list(known)
        if not chosen:
            return None
    else:
        chosen = []
        by_uid = {one.sop_instance_uid: one for one in known}
        for series in retrieval.series:
            if series.instances:
                chosen += [
                    by_uid.get(uid) or PacsInstance(retrieval.study_uid, series.series_uid, uid)
                    for uid in series.instances
                ]
                continue
            members = [one for one in known if one.series_uid == series.series_uid]
            if not members:
                return None
            chosen += members
    unique = {one.sop_instance_uid: one for one in chosen}
    rank = {uid: number for number, uid in enumerate(retrieval.first)}
    return sorted(unique.values(), key=lambda one: rank.get(one.sop_instance_uid, len(rank)))


@dataclass(slots=True, eq=False)
class Work:
    """One retrieval as it runs: every wanted instance is to do, fetching, ready, sending, done or missing."""

    retrieval: Retrieval
    done: dict[str, int] = field(default_factory=dict)
    """SOP Instance UID → bytes, of what the centre has acknowledged."""
    wanted: list[PacsInstance] | None = None
    todo: dict[str, PacsInstance] = field(default_factory=dict)
    fetching: set[str] = field(default_factory=set)
    ready: dict[str, RetrievedFile] = field(default_factory=dict)
    sending: set[str] = field(default_factory=set)
    missing: dict[str, RetrieveReason] = field(default_factory=dict)
    """SOP Instance UID → why."""
    tries: Counter[str] = field(default_factory=Counter)
    alone: set[str] = field(default_factory=set)
    """Instances that are sent by themselves, because a batch with them was refused."""
    failures: int = 0
    """How often in a row the PACS failed altogether."""
    failure: RetrieveReason | None = None
    """Why the whole retrieval is given up."""
    chunks: int = 0
    batches: int = 0
    sending_batches: int = 0
    resolving: bool = False
    ending: bool = False
    not_before: float = 0.0
    """Monotonic; after a failure of the PACS."""

    def adopt(self, retrieval: Retrieval) -> None:
        """Take a newer revision: what is wanted may have changed, and what failed may be tried again."""
        self.retrieval = retrieval
        self.wanted = None
        self.todo.clear()
        self.missing.clear()
        self.tries.clear()
        self.failures, self.failure, self.not_before = 0, None, 0.0

    def want(self, wanted: list[PacsInstance]) -> None:
        """This is what the request means."""
        self.wanted = wanted
        taken = self.fetching, self.ready, self.sending, self.done, self.missing
        self.todo = {
            one.sop_instance_uid: one for one in wanted if not any(one.sop_instance_uid in group for group in taken)
        }

    def give_up(self, reason: RetrieveReason) -> None:
        """Ask for nothing more; what is here may still be sent."""
        self.failure = reason
        self.missing.update(dict.fromkeys(self.todo, reason))
        self.todo.clear()
        if self.wanted is None:
            self.wanted = []

    @property
    def finished(self) -> bool:
        """Whether nothing of it runs and nothing is left."""
        busy = self.fetching or self.ready or self.sending or self.todo or self.resolving or self.ending
        return self.wanted is not None and not busy

    @property
    def done_of_wanted(self) -> int:
        """Wanted instances that the centre has."""
        return sum(one.sop_instance_uid in self.done for one in self.wanted or ())

    def next_chunk(self, *, whole_series: bool) -> Chunk:
        """The next instances to ask for, of `todo` that has some; `begin` follows.

        What is wanted first goes by itself; then portions grow. What did not come in company goes by itself too.
        """
        head = next(iter(self.todo.values()))
        tried = self.tries[head.sop_instance_uid]
        first = set(self.retrieval.first)
        if head.sop_instance_uid in first or tried >= ALONE_FROM:
            return Chunk((head,))
        same = [
            one
            for one in self.todo.values()
            if one.series_uid == head.series_uid
            and one.sop_instance_uid not in first
            and self.tries[one.sop_instance_uid] == tried
        ]
        if whole_series and self.chunks and not tried and len(same) >= WHOLE_SERIES_FROM and self._most_of(same):
            return Chunk(tuple(same), whole_series=True)
        size = min(FIRST_CHUNK << min(self.chunks, 10), LARGEST_CHUNK)
        return Chunk(tuple(same[: max(1, size // 4) if tried else size]))

    @property
    def holds_back(self) -> bool:
        """Whether the rest waits, because what is wanted first is being fetched (for the first time)."""
        first = self.retrieval.first
        if next(iter(self.todo), "") in first:
            return False
        return any(uid in self.fetching and not self.tries[uid] for uid in first)

    def begin(self, chunk: Chunk) -> None:
        """The chunk is asked for now."""
        for one in chunk.wanted:
            del self.todo[one.sop_instance_uid]
            self.fetching.add(one.sop_instance_uid)
        self.chunks += len(chunk.wanted) > 1 or chunk.wanted[0].sop_instance_uid not in self.retrieval.first

    def _most_of(self, same: Sequence[PacsInstance]) -> bool:
        wanted = {series.series_uid: series for series in self.retrieval.series}
        series_uid = same[0].series_uid
        if series_uid in wanted and wanted[series_uid].instances:
            return False
        members = sum(one.series_uid == series_uid for one in self.wanted or ())
        return 4 * len(same) >= 3 * members

    def came_short(self, chunk: Chunk, reason: RetrieveReason, *, counts: int) -> None:
        """What did not come of a chunk; alone it is at fault itself, and after four tries (`counts`) it is missing.

        In company nobody knows whose fault it was: they only come to be asked for alone.
        """
        most = TRIES if len(chunk.wanted) == 1 else ALONE_FROM
        for one in chunk.wanted:
            uid = one.sop_instance_uid
            if uid not in self.fetching:
                continue
            self.fetching.discard(uid)
            self.tries[uid] = max(self.tries[uid], min(most, self.tries[uid] + counts))
            if self.failure or self.tries[uid] >= TRIES:
                self.missing[uid] = self.failure or reason
            elif self.wanted is not None:  # else it is looked at anew with the newer revision
                self.todo[uid] = one

    def next_batch(self) -> list[RetrievedFile]:
        """The next files to send: what is wanted first by itself, then batches that grow; empty: wait for more."""
        for uid in (*self.retrieval.first, *self.alone):
            if uid in self.ready:
                return [self.ready[uid]]
        limit = FIRST_BATCH << min(self.batches, 6)
        batch: list[RetrievedFile] = []
        size = 0
        for file in self.ready.values():
            if batch and (size + file.length > BATCH_BYTES or len(batch) >= limit):
                break
            batch.append(file)
            size += file.length
        full = len(batch) >= limit or size >= BATCH_BYTES // 2 or len(batch) < len(self.ready)
        return batch if full or not self.sending_batches or not self.fetching else []


def most_urgent(works: Iterable[Work]) -> list[Work]:
    """By priority, then deadline; never by when they came."""
    return sorted(works, key=lambda work: work.retrieval.urgency)
