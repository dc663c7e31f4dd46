"""The rules of the index, without I/O: documents of instances, facts of studies and series, completeness."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson

from imaging_common.events import ManifestEntry, RejectedEntry, StudyChanged, Version
from imaging_common.index.names import parse_person_name
from imaging_common.objects.model import Manifest, StoredInstance

Document = dict[str, Any]


def location_of(manifest: Manifest, stored: StoredInstance) -> Document:
    """`imaging_common.index.model.Location` of an instance in a manifest's data object."""
    return {
        "bucket": manifest.lies_in,
        "key": manifest.data_key,
        "encoding": stored.encoding,
        "offset": stored.offset,
        "length": stored.length,
        "original_length": stored.original_length,
        "frames": stored.frames,
        "frame_transfer_syntax_uid": stored.frame_transfer_syntax_uid,
        "native_frame_length": stored.native_frame_length,
        "head_length": stored.head_length,
        "tail_length": stored.tail_length,
        "swapped": stored.swapped,
        "signed": stored.signed,
    }


def instance_document(manifest: Manifest, stored: StoredInstance, digests: Sequence[str] = ()) -> Document:
    """`imaging_common.index.model.InstanceDocument` of an instance in a manifest."""
    study_key = f"{manifest.hospital}/{manifest.study_uid}"
    return {
        "_id": f"{study_key}/{stored.sop_instance_uid}",
        "study_key": study_key,
        "series_key": f"{study_key}/{stored.series_uid}",
        "study_uid": manifest.study_uid,
        "series_uid": stored.series_uid,
        "sop_instance_uid": stored.sop_instance_uid,
        "sop_class_uid": stored.sop_class_uid,
        "holder": manifest.hospital,
        "instance_number": stored.instance_number,
        "transfer_syntax_uid": stored.transfer_syntax_uid,
        "sha256": stored.sha256,
        "pixel_sha256": stored.pixel_sha256,
        "digests": [*digests, stored.sha256],
        "has_edge": manifest.has_edge,
        "location": location_of(manifest, stored),
        "header": orjson.dumps(stored.header),
        "header_full": True,
    }


def aside(document: Document, **fields: Any) -> Document:
    """An instance's document as history (`instance_versions`, `conflicts`), with what else is to be said of it."""
    version = document["sha256"] or f"header-{hashlib.sha256(document['header']).hexdigest()[:32]}"
    return {**document, "_id": f"{document['_id']}/{version}", **fields}


def tombstone(document: Document) -> Document:
    """What is kept of an instance that was deleted for good: that it was there, no header and no place."""
    names = (
        "study_key", "series_key", "study_uid", "series_uid", "sop_instance_uid", "sop_class_uid", "holder",
        "transfer_syntax_uid", "sha256", "pixel_sha256", "digests", "has_edge",
    )  # fmt: skip
    identity = document["_id"]
    if identity.count("/") < 3:
        identity = f"{identity}/{document['sha256']}"
    return {"_id": identity, **{name: document[name] for name in names}, "location": None, "purged": True}


def first_value(header: Mapping[str, Any], tag: str) -> Any:
    """The first value of an attribute in DICOM JSON, None without one."""
    values = header.get(tag, {}).get("Value") or [None]
    return values[0]


def text(header: Mapping[str, Any], tag: str) -> str:
    """The first value of an attribute as text."""
    value = first_value(header, tag)
    return "" if value is None else str(value)


def number(header: Mapping[str, Any], tag: str) -> int | None:
    """The first value of an IS attribute."""
    try:
        return int(float(text(header, tag)))
    except (ValueError, OverflowError):
        return None


def study_facts(header: Mapping[str, Any]) -> Document:
    """The attributes of patient and study (PS3.3 C.7.1, C.7.2) that the index keeps beside the headers."""
    return {
        "patient": {
            "id": text(header, "00100020"),
            "issuer": text(header, "00100021"),
            "name": parse_person_name(first_value(header, "00100010")).model_dump(),
            "birth_date": text(header, "00100030"),
            "sex": text(header, "00100040"),
        },
        "study_date": text(header, "00080020"),
        "study_time": text(header, "00080030"),
        "study_id": text(header, "00200010"),
        "accession": text(header, "00080050"),
        "description": text(header, "00081030"),
        "referring_physician": parse_person_name(first_value(header, "00080090")).model_dump(),
    }


def series_facts(header: Mapping[str, Any]) -> Document:
    """The attributes of a series (PS3.3 C.7.3) that the index keeps beside the headers."""
    return {
        "modality": text(header, "00080060"),
        "series_number": number(header, "00200011"),
        "description": text(header, "0008103E"),
        "body_part": text(header, "00180015"),
        "station": text(header, "00081010"),
        "series_date": text(header, "00080021"),
        "series_time": text(header, "00080031"),
        "performed_date": text(header, "00400244"),
        "performed_time": text(header, "00400245"),
    }


@dataclass(frozen=True, slots=True)
class Announcement:
    """What a hospital said belongs to a study; the highest number counts."""

    number: int
    basis: str
    entries: tuple[ManifestEntry, ...] = ()
    rejected: tuple[RejectedEntry, ...] = ()
    listed: int | None = None
    """Instances in the catalogue of the PACS, all of which are indexed; None: it has none."""
    facts_digest: str = ""
    """Of what the catalogue says of patient and study."""
    withdrawn: bool = False
    announced_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts of one series, derived from its instances."""

    series_key: str
    instances: int = 0
    stored: int = 0
    with_edge: int = 0
    online: int = 0
    central: int = 0
    """In staging or archive."""
    headers: int = 0
    """With their whole header."""


def fill_gaps(present: Mapping[str, Any], values: Mapping[str, Any]) -> Document:
    """`values`, but where `present` has a value already, that one."""
    filled: Document = {}
    for name, value in values.items():
        kept = present.get(name)
        if isinstance(value, Mapping) and "search" not in value:
            filled[name] = fill_gaps(kept or {}, value)
        elif isinstance(value, Mapping):
            filled[name] = kept if kept and kept.get("search") else value
        else:
            filled[name] = value if kept in (None, "") else kept
    return filled


@dataclass(slots=True)
class Facts:
    """Attributes as the instance with the lowest UID states them, whatever the order of arrival."""

    source: str = ""
    values: Document = field(default_factory=dict)
    present: Document = field(default_factory=dict)
    """What the index has."""

    def offer(self, sop_instance_uid: str, values: Document, *, fill: bool = False) -> None:
        """Take the values if this instance comes before the present source, or is a correction of it.

        `fill`: what the index has (from a catalogue of the PACS) stays, only gaps are filled.
        """
        if not self.source or sop_instance_uid <= self.source:
            self.source, self.values = sop_instance_uid, fill_gaps(self.present, values) if fill else values


def accounted_for(
    announcement: Announcement, arrived: Mapping[str, Iterable[str]], rejected: Sequence[Mapping[str, str]]
) -> bool:
    """Whether every announced instance arrived or was rejected; `arrived` maps UID to the digests it came with."""
    refused = {entry.get("sha256", "") for entry in rejected}
    return all(
        entry.sha256 in arrived.get(entry.sop_instance_uid, ()) or entry.sha256 in refused
        for entry in announcement.entries
    )


def unannounced(announcement: Announcement, arrived: Mapping[str, Iterable[str]]) -> bool:
    """Whether an instance arrived that the announcement does not know: another announcement is to be expected."""
    known = {entry.sop_instance_uid for entry in announcement.entries}
    return bool(arrived.keys() - known)


def statement(study: Document) -> StudyChanged:
    """The public event that says what `study` says."""
    return StudyChanged(
        study_uid=study["study_uid"],
        holder=study["holder"],
        version=Version.model_validate(study["version"]),
        tier=study["tier"],
        announced=study["announced"],
        settled=study["settled"],
        settled_basis=study["settled_basis"],
        stored=study["stored"],
        series_count=study["series_count"],
        instance_count=study["instance_count"],
        announced_count=study["announced_count"],
        stored_count=study["stored_count"],
        rejected_count=len(study["rejected"]),
        modalities=study["modalities"],
        study_date=study["study_date"] or None,
        resident_id=study["resident_id"],
        online_count=study["online_count"],
        withdrawn=study["withdrawn"],
        deleted=study["deleted"],
        corrections=study["corrections"],
        report_count=study["report_count"],
        changed_at=study["updated_at"],
    )


def empty_study(holder: str, study_uid: str, tier: str, now: datetime) -> Document:
    """A study of which nothing is known yet."""
    return {
        "_id": f"{holder}/{study_uid}",
        "study_uid": study_uid,
        "holder": holder,
        "tier": tier,
        "version": {"epoch": 0, "n": 0},
        **study_facts({}),
        "facts_from": "",
        "resident_id": None,
        "modalities": [],
        "body_parts": [],
        "series_count": 0,
        "instance_count": 0,
        "announced_count": 0,
        "stored_count": 0,
        "announced": False,
        "settled": False,
        "settled_basis": None,
        "stored": False,
        "rejected": [],
        "conflicts": 0,
        "corrections": 0,
        "unlisted": 0,
        "online_count": 0,
        "header_count": 0,
        "withdrawn": False,
        "deleted": False,
        "purge_after": None,
        "held": False,
        "report_count": 0,
        "announced_at": None,
        "quiet_due": None,
        "quiet_settled": False,
        "updated_at": now,
    }
