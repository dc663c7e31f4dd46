"""How instances lie in MinIO: a data object and a manifest beside it, the same form for a staged batch and a pack.

Staged batch: bucket `staging`, `<hospital>/<study>/<batch_id>.batch`: the Part 10 files as received, one after the
other. Cached batch: the same in bucket `cache`, copies of what a hospital's PACS keeps; its id is made from the
retrieval's id, too, so that a key never comes back after an eviction. Archive pack: bucket `archive`,
`<hospital>/<study>/<series>/<pack_id>.pack`: per instance either the file as received (`original`) or
`head ‖ HTJ2K frames ‖ tail` (`htj2k`), from which the file is rebuilt byte for byte. The manifest is the key with
`.json` in place of the ending, zstd-compressed JSON; it is written after the data, so a manifest proves its data.
"""

import hashlib
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from imaging_common.ids import HospitalId, Sha256, Uid

STAGING_BUCKET: Final = "staging"
ARCHIVE_BUCKET: Final = "archive"
CACHE_BUCKET: Final = "cache"

ByteRange = tuple[int, int]
"""(offset, length) in bytes."""


class StoredInstance(BaseModel):
    """One instance inside a data object. All offsets count from the start of that object."""

    model_config = ConfigDict(frozen=True)

    sop_instance_uid: Uid
    sop_class_uid: Uid
    series_uid: Uid
    instance_number: int | None = None
    transfer_syntax_uid: Uid
    """Of the file as received."""
    sha256: Sha256
    """Of the file as received."""
    pixel_sha256: Sha256 | None = None
    """Of the value of Pixel Data as received; None without pixels."""
    original_length: int
    """Bytes of the file as received."""
    encoding: Literal["original", "htj2k"] = "original"
    offset: int
    """Where the entry starts."""
    length: int
    """Bytes of the entry."""
    frames: list[list[ByteRange]] = []
    """Per frame its ranges: one for native pixels and HTJ2K, one per fragment else. Empty: no pixels, or frames that
    do not start on a byte (BitsAllocated 1), which are cut after decoding."""
    frame_transfer_syntax_uid: Uid | None = None
    """Of the frames' bytes; None without pixels."""
    native_frame_length: int | None = None
    """`htj2k` only: bytes of one decoded frame."""
    head_length: int = 0
    """`htj2k` only: bytes of the entry before the first frame, taken over as they were."""
    tail_length: int = 0
    """`htj2k` only: bytes of the entry after the last frame, taken over as they were (padding included)."""
    swapped: bool = False
    """`htj2k` only: the native pixels were big endian."""
    signed: bool = False
    """`htj2k` only: Pixel Representation (0028,0103) is 1."""
    header: dict[str, Any]
    """DICOM JSON (PS3.18 F) without bulk values; `BulkDataURI` is `bulkdata://<sop uid>/<tag path>`."""


class Manifest(BaseModel):
    """What one data object holds."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["batch", "pack"]
    bucket: Literal["staging", "cache", "archive"] | None = None
    """Where it lies; None in manifests older than the cache tier: staging for a batch, archive for a pack."""
    hospital: HospitalId
    study_uid: Uid
    id: Sha256
    data_key: str
    instances: list[StoredInstance]
    has_edge: bool = True
    traceparent: str | None = None
    replaces: list[str] = Field(default=[])
    """Pack only: manifest keys of older packs of the series that this one takes the place of."""

    @property
    def lies_in(self) -> Literal["staging", "cache", "archive"]:
        """The bucket of its data and itself."""
        return self.bucket or ("staging" if self.kind == "batch" else "archive")


def collection_id(digests: list[str]) -> str:
    """The deterministic id of a batch or pack: SHA-256 over its instances' digests in order."""
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def batch_key(hospital: str, study_uid: str, batch_id: str) -> str:
    """Key of a staged batch's data object."""
    return f"{hospital}/{study_uid}/{batch_id}.batch"


def pack_key(hospital: str, study_uid: str, series_uid: str, pack_id: str) -> str:
    """Key of an archive pack's data object."""
    return f"{hospital}/{study_uid}/{series_uid}/{pack_id}.pack"


def manifest_key(data_key: str) -> str:
    """Key of the manifest that belongs to a data object."""
    return data_key.rsplit(".", 1)[0] + ".json"
