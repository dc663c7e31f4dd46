"""C-FIND over the region (PS3.4 C.4.1) for the hospital's workstations."""

from collections.abc import Iterator
from typing import Any

from pydicom.dataset import Dataset

from edge_agent.errors import IdentifierRefused, RegionRefused, RegionUnavailable
from edge_agent.services.identifiers import read_identifier
from edge_agent.services.query import RegionQuery, TooManyMatches
from imaging_common.telemetry import get_logger

_log = get_logger(__name__)
PENDING, CANCELLED = 0xFF00, 0xFE00
OUT_OF_RESOURCES, NO_MATCHING_IDENTIFIER, UNABLE = 0xA700, 0xA900, 0xC001
Result = tuple[int | Dataset, Dataset | None]


class FindService:
    """Answers Query/Retrieve C-FIND."""

    def __init__(self, query: RegionQuery) -> None:
        self._query = query

    def find(self, event: Any) -> Iterator[Result]:
        """On C-FIND: one pending response a match; more than the limit is 0xA700."""
        try:
            patient_root = ".1.2.1." in str(event.context.abstract_syntax)
            question = read_identifier(event.identifier, patient_root=patient_root)
            for match in self._query.matches(question):
                if event.is_cancelled:
                    yield CANCELLED, None
                    return
                yield PENDING, match
        except IdentifierRefused as error:
            yield failure(NO_MATCHING_IDENTIFIER, str(error)), None
        except TooManyMatches:
            yield failure(OUT_OF_RESOURCES, "more matches than are given; ask more narrowly"), None
        except RegionRefused as error:
            yield failure(NO_MATCHING_IDENTIFIER if error.status == 400 else UNABLE, str(error)), None
        except RegionUnavailable as error:
            yield failure(OUT_OF_RESOURCES, str(error)), None
        except Exception as error:
            _log.error("c-find-failed", error=type(error).__name__)
            yield failure(UNABLE, "the question cannot be answered"), None


def failure(status: int, comment: str) -> Dataset:
    """A status with Error Comment (0000,0902)."""
    dataset = Dataset()
    dataset.Status = status
    dataset.ErrorComment = comment[:64]
    return dataset
