"""Instances that come one by one over associations become batches: what comes while one is staged makes the next."""

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from opentelemetry import trace

from dicom_ingest.model import Outcome, Sender
from dicom_ingest.usecases.store_instances import COPY_BYTES, StoreInstances
from imaging_common.telemetry import attached, get_tracer, link_to

_tracer = get_tracer(__name__)


@dataclass(frozen=True, slots=True)
class Arrival:
    """One received file that waits to be staged."""

    sender: Sender
    path: Path
    length: int
    traceparent: str | None
    outcome: "asyncio.Future[Outcome]" = field(compare=False)


class CollectInstances:
    """Group commit: an association waits for its instance, all associations share a batch.

    Parameters
    ----------
    folder
        For files of several instances.
    batch_bytes, batch_instances
        At most about so much in one batch.
    """

    def __init__(
        self, store_instances: StoreInstances, folder: Path, *, batch_bytes: int, batch_instances: int
    ) -> None:
        self._store_instances = store_instances
        self._folder = folder
        self._batch_bytes = batch_bytes
        self._batch_instances = batch_instances
        self._waiting: asyncio.Queue[Arrival] = asyncio.Queue()
        self._number = 0

    async def submit(self, sender: Sender, path: Path, length: int, traceparent: str | None) -> Outcome:
        """Wait until the file at `path` is staged or refused.

        Raises
        ------
        RetryableError
            MinIO or Kafka is away.
        """
        outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.put_nowait(Arrival(sender, path, length, traceparent, outcome))
        return await outcome

    async def run(self) -> None:
        """Stage batches until cancelled."""
        while True:
            batch = [await self._waiting.get()]
            size = batch[0].length
            while size < self._batch_bytes and len(batch) < self._batch_instances and not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
                size += batch[-1].length
            by_sender: dict[Sender, list[Arrival]] = defaultdict(list)
            for arrival in batch:
                if not arrival.outcome.cancelled():
                    by_sender[arrival.sender].append(arrival)
            for sender, arrivals in by_sender.items():
                await self._stage(sender, arrivals)

    async def _stage(self, sender: Sender, arrivals: list[Arrival]) -> None:
        """A batch continues its first instance's trace and links the others."""
        links = [link for arrival in arrivals[1:] if (link := link_to(arrival.traceparent)) is not None]
        with (
            attached(arrivals[0].traceparent),
            _tracer.start_as_current_span("stage batch", kind=trace.SpanKind.INTERNAL, links=links),
        ):
            try:
                outcomes = await self._store(sender, arrivals)
            except Exception as error:
                for arrival in arrivals:
                    if not arrival.outcome.done():
                        arrival.outcome.set_exception(error)
                return
        for arrival, outcome in zip(arrivals, outcomes, strict=True):
            if not arrival.outcome.done():
                arrival.outcome.set_result(outcome)

    async def _store(self, sender: Sender, arrivals: list[Arrival]) -> list[Outcome]:
        if len(arrivals) == 1:
            (only,) = arrivals
            return await self._store_instances(sender, only.path, [(0, only.length)], None)
        self._number += 1
        joined = self._folder / f"batch-{self._number}.parts"
        try:
            parts = await asyncio.to_thread(join, [arrival.path for arrival in arrivals], joined)
            return await self._store_instances(sender, joined, parts, None)
        finally:
            joined.unlink(missing_ok=True)


def join(paths: list[Path], target: Path) -> list[tuple[int, int]]:
    """Write the files one after the other; (offset, length) of each. Blocking."""
    parts = []
    with target.open("wb") as out:
        for path in paths:
            start = out.tell()
            with path.open("rb") as source:
                while piece := source.read(COPY_BYTES):
                    out.write(piece)
            parts.append((start, out.tell() - start))
    return parts
