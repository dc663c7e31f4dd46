"""The centre's doors."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from edge_agent.model import RetrievedFile, SpooledInstance


@dataclass(frozen=True, slots=True)
class StoreAnswer:
    """What the centre says of each instance of a batch, by SOP Instance UID; the others are to be sent again."""

    stored: set[str] = field(default_factory=set)
    rejected: dict[str, str] = field(default_factory=dict)
    """With the reason."""


class Centre(Protocol):
    """The centre's door for images."""

    async def store(
        self, study_uid: str, batch: Sequence[SpooledInstance | RetrievedFile], retrieval_id: str | None = None
    ) -> StoreAnswer:
        """Store a batch of one study; with a retrieval id, in the cache tier; with an empty one, for good.

        Raises
        ------
        CentreUnavailable
            Nothing is known of the batch; send it again.
        BatchRefused
            The request as such is refused.
        """
        ...


class CatalogueDoor(Protocol):
    """The centre's door for catalogues (`imaging_common.objects.catalogue`)."""

    async def put(self, study_uid: str, data: bytes) -> str:
        """Return the key under which the centre keeps the encoded catalogue, durably.

        Raises
        ------
        CentreUnavailable
            Nothing is known of it; send it again.
        BatchRefused
            The centre can never take it.
        """
        ...


class ReportCentre(Protocol):
    """The centre's door for reports."""

    async def send(self, data: bytes, media_type: str) -> None:
        """Return once the archive has it.

        Raises
        ------
        CentreUnavailable
            Nothing is known of it; send it again.
        ReportRefused
            The centre can never take it.
        """
        ...
