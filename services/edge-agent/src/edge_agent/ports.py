"""What the edge agent's use cases need from outside."""

from typing import Protocol

from edge_agent.model import SpooledInstance


class Centre(Protocol):
    """The centre's door for images."""

    async def store(self, study_uid: str, batch: list[SpooledInstance]) -> dict[str, str]:
        """Store a batch of one study.

        Returns
        -------
        dict
            SOP Instance UID to the reason, for each instance that was refused; all others are durable in the centre.

        Raises
        ------
        CentreUnavailable
            Nothing is known of the batch; send it again.
        """
        ...
