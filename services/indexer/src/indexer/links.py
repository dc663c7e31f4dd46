"""The port of links and merges; its fake lies beside `FakeIndex`, both are held to one contract."""

from typing import Protocol

from imaging_common.events import PatientLinked, PatientUnlinked, ResidentMerged
from indexer.model import Document


class Links(Protocol):
    """What was said about patients and residents (`index.links`, `index.merges`)."""

    async def prepare(self) -> None:
        """Create the indexes."""
        ...

    async def hear(self, event: PatientLinked | PatientUnlinked) -> Document:
        """Keep the statement unless a later one of its source is known; the patient's document afterwards."""
        ...

    async def behind(self, key: str, limit: int) -> tuple[Document, list[tuple[str, str]]]:
        """The patient's link as it is now, and (holder, study) of studies that say something else."""
        ...

    async def mark_applied(self, link: Document) -> None:
        """All studies say what this revision of the link says."""
        ...

    async def unapplied(self, limit: int) -> list[str]:
        """Patients whose studies may still say something else."""
        ...

    async def merge(self, event: ResidentMerged) -> None:
        """Keep the redirect unless a later one of this resident is known."""
        ...
