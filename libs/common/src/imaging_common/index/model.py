"""The read model of the region's index: documents of MongoDB database `index`. Only the indexer writes them.

Collections: `studies` (`_id` = `<holder>/<study>`), `series` (`_id` = `<holder>/<study>/<series>`), `instances`
(`_id` = `<holder>/<study>/<sop>`), `instance_versions` and `conflicts` (`_id` = `<holder>/<study>/<sop>/<sha256>`),
`unlisted` (`_id` = `<holder>/<study>/<sop>`: what left the study), `announcements` (`_id` = `<holder>/<study>`),
`manifests` (`_id` = `<bucket>/<key>`: what was indexed), `hospitals` (policies), `events` (the outbox), `meta` (epoch),
`links` (`_id` = `<hospital>^<patient id>`), `merges` (`_id` = resident id), `reports` (`_id` = `<hospital>/<report
key>`, newest version inside), `report_versions`.
"""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from imaging_common.events.base import Version


class PersonName(BaseModel):
    """A PN value's component groups (PS3.5 §6.2.1) and what a search compares."""

    alphabetic: str = ""
    ideographic: str = ""
    phonetic: str = ""
    search: list[str] = []
    """Folded forms: lower case, Han as written, pinyin with and without spaces."""


class Patient(BaseModel):
    """The person as the holder knows them."""

    id: str = ""
    issuer: str = ""
    name: PersonName = PersonName()
    birth_date: str = ""
    sex: str = ""


class StudyDocument(BaseModel):
    """One study at one holder."""

    model_config = ConfigDict(populate_by_name=True)

    id: str = Field(alias="_id")
    study_uid: str
    holder: str
    tier: Literal["distributed", "central", "cache"] = "central"
    version: Version
    patient: Patient = Patient()
    resident_id: str | None = None
    linked_by: Literal["", "ehr", "operator"] = ""
    patient_key: str = ""
    """`<hospital>^<patient id>`: the `_id` of its patient in `links`."""
    study_date: str = ""
    study_time: str = ""
    study_id: str = ""
    accession: str = ""
    description: str = ""
    referring_physician: PersonName = PersonName()
    modalities: list[str] = []
    body_parts: list[str] = []
    series_count: int = 0
    instance_count: int = 0
    announced_count: int = 0
    stored_count: int = 0
    announced: bool = False
    settled: bool = False
    settled_basis: str | None = None
    stored: bool = False
    rejected: list[dict[str, str]] = []
    conflicts: int = 0
    online_count: int = 0
    """Instances whose bytes lie in the centre now, in whatever bucket."""
    header_count: int = 0
    """Instances whose whole header is known."""
    corrections: int = 0
    withdrawn: bool = False
    """The holder no longer has it; it is not listed."""
    deleted: bool = False
    purge_after: datetime | None = None
    held: bool = False
    report_count: int = 0
    announced_at: datetime | None = None
    """When the holder last said what it has."""
    updated_at: datetime
    place: int | None = None
    """Its place in the study list, None while it is not listed; see `listing.py`, for `tokens` too."""


class SeriesDocument(BaseModel):
    """One series at one holder."""

    model_config = ConfigDict(populate_by_name=True)

    id: str = Field(alias="_id")
    study_uid: str
    series_uid: str
    holder: str
    modality: str = ""
    series_number: int | None = None
    description: str = ""
    body_part: str = ""
    station: str = ""
    series_date: str = ""
    series_time: str = ""
    instance_count: int = 0
    stored_count: int = 0
    online_count: int = 0
    header_count: int = 0
    study_key: str = ""
    """`<holder>/<study>`: the `_id` of its study."""


class Location(BaseModel):
    """Where an instance's bytes lie: fields as in `imaging_common.objects.model.StoredInstance`."""

    bucket: Literal["staging", "archive", "cache"]
    key: str
    encoding: Literal["original", "htj2k"]
    offset: int
    length: int
    original_length: int
    frames: list[list[tuple[int, int]]] = []
    frame_transfer_syntax_uid: str | None = None
    native_frame_length: int | None = None
    head_length: int = 0
    tail_length: int = 0
    swapped: bool = False
    signed: bool = False


class ListedInstance(BaseModel):
    """One instance at one holder. `header` is its DICOM JSON (PS3.18 F) as UTF-8 bytes, ready to be joined."""

    model_config = ConfigDict(populate_by_name=True)

    id: str = Field(alias="_id")
    study_uid: str
    series_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    holder: str
    instance_number: int | None = None
    transfer_syntax_uid: str
    """Empty where the PACS does not say and no byte has come yet."""
    sha256: str | None
    """None: no byte of it ever came to the centre."""
    pixel_sha256: str | None = None
    location: Location | None
    """None: its bytes lie at the holder only."""
    header: bytes = b""
    header_full: bool = True
    """False: the header holds only what the PACS's C-FIND gave."""
    study_key: str = ""
    """`<holder>/<study>`: the `_id` of its study."""
    series_key: str = ""
    """`<holder>/<study>/<series>`: the `_id` of its series."""
    digests: list[str] = []
    """Every SHA-256 under which this UID arrived: the served one, corrected ones, conflicting ones."""
    has_edge: bool = True

    @classmethod
    def from_mongo(cls, document: dict[str, Any]) -> "ListedInstance":
        """Build from a MongoDB document; an `InstanceDocument` where the bytes lie in the centre."""
        here = document.get("location") is not None and document.get("sha256") is not None
        return (InstanceDocument if here else cls).model_validate(document)


class InstanceDocument(ListedInstance):
    """An instance whose bytes lie in the centre."""

    sha256: str
    location: Location

    @classmethod
    def from_mongo(cls, document: dict[str, Any]) -> "InstanceDocument":
        """Build from a MongoDB document."""
        return cls.model_validate(document)
