"""What a hospital's PACS says of one study: the study as announced, without a single pixel.

It lies in bucket `cache` at `<hospital>/<study>/<sha256>.catalogue` as zstd-compressed JSON, written by dicom-ingest
for the edge agent and read by the indexer. Headers of all instances are in it where the PACS gives them (WADO-RS
metadata, PS3.18 §10.4.1.1.4), else what C-FIND gave.
"""

import hashlib
from typing import Any

import orjson
import zstandard
from pydantic import BaseModel, ConfigDict

from imaging_common.errors import RejectedError
from imaging_common.ids import HospitalId, Uid

MAX_CATALOGUE_BYTES = 256 * 1024 * 1024


class UnreadableCatalogue(RejectedError):
    """The bytes are no catalogue."""


class CatalogueInstance(BaseModel):
    """One instance in the PACS."""

    model_config = ConfigDict(frozen=True)

    sop_instance_uid: Uid
    sop_class_uid: str = ""
    series_uid: Uid
    instance_number: int | None = None
    transfer_syntax_uid: str | None = None
    """As the PACS says it keeps it (0008,3002); None where it does not."""
    full: bool = False
    """Whether `header` is the whole header; else it holds what C-FIND gave."""
    header: dict[str, Any]
    """DICOM JSON (PS3.18 F) without bulk values; `BulkDataURI` is `bulkdata://<sop uid>/<tag path>`."""


class Catalogue(BaseModel):
    """One study in the PACS at one time."""

    model_config = ConfigDict(frozen=True)

    hospital: HospitalId
    study_uid: Uid
    announcement: int
    """The announcement that it belongs to."""
    study: dict[str, Any]
    """Attributes of patient and study, DICOM JSON."""
    series: list[dict[str, Any]]
    """Attributes of each series, DICOM JSON, Series Instance UID (0020,000E) among them."""
    instances: list[CatalogueInstance]


def catalogue_key(hospital: str, study_uid: str, data: bytes) -> str:
    """The key of an encoded catalogue: the same catalogue has the same key."""
    return f"{hospital}/{study_uid}/{hashlib.sha256(data).hexdigest()}.catalogue"


def encode(catalogue: Catalogue) -> bytes:
    """The catalogue's bytes."""
    return zstandard.ZstdCompressor(level=3).compress(orjson.dumps(catalogue.model_dump(mode="python")))


def decode(data: bytes) -> Catalogue:
    """The catalogue; `UnreadableCatalogue` when it is none."""
    try:
        if not 0 <= zstandard.frame_content_size(data) <= MAX_CATALOGUE_BYTES:
            raise UnreadableCatalogue("an object is no catalogue: its size is not told or too large")
        raw = zstandard.ZstdDecompressor().decompress(data)
        return Catalogue.model_validate(orjson.loads(raw))
    except (zstandard.ZstdError, ValueError) as error:
        raise UnreadableCatalogue(f"an object is no catalogue: {type(error).__name__}") from error
