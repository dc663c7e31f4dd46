"""Rules of writing reports back, without I/O: what is to go into the hospital's PACS, and when it is tried again."""

from dataclasses import dataclass
from pathlib import Path

from imaging_common.events.edge import WriteBackReason

FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS = 1.0, 60.0


@dataclass(frozen=True, slots=True)
class WriteBackObject:
    """One object of a report."""

    sop_instance_uid: str
    sha256: str


@dataclass(frozen=True, slots=True)
class FetchedObject:
    """One of them as the centre gave it; the file is its taker's to delete."""

    path: Path
    sop_instance_uid: str
    series_uid: str


@dataclass(frozen=True, slots=True)
class WriteBack:
    """One command that is not ended yet."""

    write_back_id: str
    consult_id: str
    report_version: int
    study_uid: str
    holder: str
    """Under which the centre keeps the objects."""
    instances: tuple[WriteBackObject, ...]
    deadline: float
    """Seconds since 1970."""
    stored: frozenset[str] = frozenset()
    """SOP Instance UIDs that the PACS has taken."""
    tries: int = 0
    not_before: float = 0.0
    reason: WriteBackReason = ""
    """Why the last try failed."""

    @property
    def missing(self) -> list[WriteBackObject]:
        """What the PACS has not taken yet."""
        return [one for one in self.instances if one.sop_instance_uid not in self.stored]


def delay_after(tries: int) -> float:
    """Seconds to wait after so many failed tries.

    >>> [delay_after(n) for n in (1, 2, 7, 30)]
    [1.0, 2.0, 60.0, 60.0]
    """
    return min(FIRST_DELAY_SECONDS * float(1 << min(tries - 1, 10)), LONGEST_DELAY_SECONDS)


def is_taken(status: int) -> bool:
    """Whether a C-STORE's status means that the PACS has the object (PS3.4 Table B.2-1, PS3.7 C.5.3).

    Success, a warning (0xB000, 0xB006, 0xB007: stored, but), or a duplicate (0x0111): it was there.
    """
    return status in (0x0000, 0x0111) or status & 0xF000 == 0xB000
