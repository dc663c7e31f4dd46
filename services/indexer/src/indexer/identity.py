"""What an instance that arrives is to the one the index has under its UID, without I/O."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from imaging_common.objects.model import StoredInstance


class Verdict(Enum):
    """What an arriving instance is to the index."""

    NEW = "new"
    SAME = "same"
    """The one that is served arrived again (or lies in a pack now)."""
    KNOWN = "known"
    """A superseded or conflicting one arrived again."""
    CORRECTION = "correction"
    CONFLICT = "conflict"
    MOVED = "moved"
    """The PACS gave the same instance with other file bytes."""
    COMPLETED = "completed"
    """Its whole header came to what C-FIND gave."""
    TOOK_OVER = "took-over"
    """Other pixels under the UID of an instance whose own are no longer anywhere."""
    DIFFERS = "differs"
    """Its header was not seen in this form: `MOVED` if it says the same, else `CORRECTION`."""


@dataclass(slots=True)
class Known:
    """What the index has under a SOP Instance UID."""

    sha256: str | None
    pixel_sha256: str | None
    digests: list[str]
    bucket: str | None
    """Where its bytes lie; None: at the holder only."""
    transfer_syntax_uid: str = ""
    header_full: bool = True
    header_digest: str | None = None
    """Of the header as the bytes gave it; kept for copies of a PACS's instances only."""
    pacs_digest: str | None = None
    """Of the header as the PACS gave it in a catalogue."""

    @property
    def from_pacs(self) -> bool:
        """Whether the hospital's PACS keeps it, as far as the index knows."""
        return self.pacs_digest is not None or self.bucket in (None, "cache")


def known_of(document: Mapping[str, Any]) -> Known:
    """What an instance's document, with or without its header, says."""
    return Known(
        document["sha256"],
        document["pixel_sha256"],
        list(document["digests"]),
        (document.get("location") or {}).get("bucket"),
        document["transfer_syntax_uid"],
        document.get("header_full", True),
        document.get("header_digest"),
        document.get("pacs_digest"),
    )


NATIVE = frozenset({"1.2.840.10008.1.2", "1.2.840.10008.1.2.1"})
"""Little endian without compression: the same value of Pixel Data."""


def judge_copy(known: Known, arrived: StoredInstance, bucket: str, digest: str) -> Verdict:
    """What another copy of an instance in a PACS is: file bytes may differ from one retrieval to the next.

    Parameters
    ----------
    bucket
        Where the copy lies.
    digest
        `header_digest` of its header.
    """
    if arrived.sha256 == known.sha256:
        return Verdict.SAME
    central = bucket != "cache" and known.bucket not in (None, "cache")
    if central and arrived.sha256 in known.digests:
        return Verdict.KNOWN
    if known.sha256 is not None and not _pixels_agree(known, arrived):
        return Verdict.TOOK_OVER if known.bucket is None else Verdict.CONFLICT
    if not known.header_full:
        return Verdict.COMPLETED
    if digest in (known.header_digest, known.pacs_digest) or arrived.sha256 in known.digests:
        return Verdict.MOVED
    return Verdict.DIFFERS


def _pixels_agree(known: Known, arrived: StoredInstance) -> bool:
    """Pixel digests tell only within one transfer syntax."""
    both = {known.transfer_syntax_uid, arrived.transfer_syntax_uid}
    return arrived.pixel_sha256 == known.pixel_sha256 if len(both) == 1 or both <= NATIVE else True


def may_point(bucket: str, present: str | None) -> bool:
    """Whether a copy in `bucket` takes the place of one in `present`: packs always, cached copies never of the centre's
    own, a staged batch never of a pack or of another batch."""
    return bucket == "archive" or present in (None, "cache")


def judge(known: Known | None, arrived: StoredInstance) -> Verdict:
    """Within one holder: same UID and pixels with another header corrects; other pixels conflict."""
    if known is None:
        return Verdict.NEW
    if arrived.sha256 == known.sha256:
        return Verdict.SAME
    if arrived.sha256 in known.digests:
        return Verdict.KNOWN
    return Verdict.CORRECTION if arrived.pixel_sha256 == known.pixel_sha256 else Verdict.CONFLICT
