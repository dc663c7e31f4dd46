"""What deletions and holds need from outside, beside the object store."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from imaging_common.events import StudyDeletionRequested, StudyHeld, StudyRestored


@dataclass(frozen=True, slots=True)
class Purged:
    """An object that is to go for good."""

    bucket: Literal["staging", "archive"]
    manifest_key: str
    at: datetime
    """When it was marked; what was written later under its key is another object."""


class Deletions(Protocol):
    """What operators ordered about studies. Every method may be repeated; a lower revision changes nothing."""

    async def order_deletion(self, event: StudyDeletionRequested) -> None:
        """Delete the study after its retention; what comes from now on is kept apart."""
        ...

    async def order_restoration(self, event: StudyRestored) -> None:
        """Keep it after all."""
        ...

    async def order_hold(self, event: StudyHeld) -> None:
        """Delete and evict nothing of the study while it is held."""
        ...

    async def due(self, limit: int) -> list[str]:
        """Studies (`<hospital>/<study>`) whose retention is over, that nothing holds, and that are not finished."""
        ...

    async def purge(self, study_id: str) -> bool:
        """Mark what the study had when its deletion was ordered; emits InstancesEvicted.

        False: it was restored or held in the meantime, or a series of it is being packed.
        """
        ...

    async def finish(self, study_id: str) -> None:
        """Everything that belongs to the purge is marked or gone."""
        ...

    async def purged(self, limit: int) -> list[Purged]:
        """Objects that are marked and not known to be gone."""
        ...

    async def spare(self, purged: Purged) -> None:
        """The object was sent again after it was marked: it is a new one."""
        ...
