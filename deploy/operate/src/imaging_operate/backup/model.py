"""What a backup says of itself."""

from datetime import datetime
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from imaging_operate.backup.sealing import Sealed

FORMAT: Final = 1
MANIFEST = "manifest.json"
COPIED_BUCKETS = ("staging", "archive", "audit-anchors")
"""`cache` is left out: copies of what the hospitals' PACS keep."""
LEFT_OUT = {
    "gateway": frozenset({"sessions", "sign_ins", "launch_codes", "kept_requests"}),
}
"""Database → collections that are not saved: who was signed out must not be signed in again by a restore."""


class Collection(BaseModel):
    """One collection of MongoDB."""

    model_config = ConfigDict(frozen=True)

    database: str
    name: str
    documents: int
    options: dict[str, Any]
    indexes: list[dict[str, Any]]
    """As `listIndexes` gives them, without `v` and `ns`."""
    file: Sealed


class Objects(BaseModel):
    """What was saved of the object store."""

    model_config = ConfigDict(frozen=True)

    count: dict[str, int]
    """Bucket → objects."""
    bytes: dict[str, int]
    file: Sealed
    """A line of JSON per object: see `Entry`."""


class Entry(BaseModel):
    """One object of the region's store, and the file that holds it."""

    model_config = ConfigDict(frozen=True)

    bucket: str
    key: str
    size: int
    etag: str
    retain_until: datetime | None = None
    """Object Lock: until then it must not be changed."""
    stored: Sealed


class Kafka(BaseModel):
    """What was saved of Kafka."""

    model_config = ConfigDict(frozen=True)

    metadata: Sealed
    records: dict[str, Sealed]
    """Compacted topic → its records."""
    counts: dict[str, int]


class BackupManifest(BaseModel):
    """One finished backup."""

    model_config = ConfigDict(frozen=True)

    format: int = FORMAT
    id: str
    version: str
    """Of the software that wrote it."""
    started_at: datetime
    finished_at: datetime
    cluster_time: str
    """MongoDB's time of the snapshot: all collections are as they were then."""
    collections: list[Collection]
    objects: Objects
    kafka: Kafka
