"""What C-GET and C-MOVE ask for, and what their final status means (PS3.4 C.4.2.1, C.4.3.1)."""

from collections.abc import Sequence

from pydicom.dataset import Dataset

from edge_agent.errors import PacsRefused, PacsUnreachable
from edge_agent.model import PacsInstance

SUCCESS, SOME_FAILED = 0x0000, 0xB000
IDENTIFIER_DOES_NOT_MATCH = (0xA701, 0xA900)


def image_identifier(wanted: Sequence[PacsInstance]) -> Dataset:
    """The identifier at level IMAGE for instances of one series (a list of UIDs, PS3.4 C.2.2.2.2)."""
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "IMAGE"
    identifier.StudyInstanceUID = wanted[0].study_uid
    identifier.SeriesInstanceUID = wanted[0].series_uid
    identifier.SOPInstanceUID = [one.sop_instance_uid for one in wanted]
    return identifier


def raise_for_status(last: Dataset) -> None:
    """Nothing when the operation ended, with all or with some; what did not come is seen by who asked.

    Raises
    ------
    PacsUnreachable
        No answer came.
    PacsRefused
        The PACS says that it cannot.
    """
    status = last.get("Status")
    if status is None:
        raise PacsUnreachable("the PACS broke off, or stayed silent for too long", connected=True)
    if status not in (SUCCESS, SOME_FAILED):
        raise PacsRefused(f"the PACS answered {status:04X}")
