"""Events on a study's way through the centre."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from imaging_common.events.base import Event, Version
from imaging_common.events.edge import ManifestEntry
from imaging_common.ids import HospitalId, Sha256, Uid


class InstancesReceived(Event):
    """One batch of one study lies in staging, durable, and is viewable from there."""

    hospital: HospitalId = Field(description="The hospital whose credentials stored it.")
    study_uid: Uid = Field(description="Study Instance UID (0020,000D).")
    batch_id: Sha256 = Field(description="Digest over the instances' digests: the same batch again has the same id.")
    manifest_key: str = Field(description="Key of the batch's manifest in the bucket `staging`.")
    instance_count: int = Field(ge=1, description="Instances in the batch.")
    byte_count: int = Field(ge=1, description="Bytes of the batch.")
    has_edge: bool = Field(description="False: no edge agent announces this study, so a quiet timer settles it.")


class InstancesStored(Event):
    """An archive pack was written and verified; its manifest says what it holds."""

    hospital: HospitalId = Field(description="The holder.")
    study_uid: Uid = Field(description="Study Instance UID (0020,000D).")
    series_uid: Uid = Field(description="Series Instance UID (0020,000E).")
    pack_id: Sha256 = Field(description="Digest over the pack's instances.")
    manifest_key: str = Field(description="Key of the pack's manifest in the bucket `archive`.")
    instance_count: int = Field(ge=1, description="Instances in the pack.")


class InstancesEvicted(Event):
    """Copies left the cache tier; their holder still has them."""

    hospital: HospitalId = Field(description="The holder.")
    study_uid: Uid = Field(description="Study Instance UID (0020,000D).")
    sop_instance_uids: list[Uid] = Field(description="SOP Instance UIDs (0008,0018) that are no longer cached.")


class InstancesLocated(Event):
    """The index points to this pack for these instances: their staged copies may go after the grace period."""

    hospital: HospitalId = Field(description="The holder.")
    study_uid: Uid = Field(description="Study Instance UID (0020,000D).")
    manifest_key: str = Field(description="Key of the pack's manifest in the bucket `archive`.")
    instances: list[ManifestEntry] = Field(description="The instances the index now reads from that pack.")


class StudyChanged(Event):
    """The public, versioned statement about a study at one holder."""

    study_uid: Uid = Field(description="Study Instance UID (0020,000D).")
    holder: HospitalId = Field(description="The hospital that holds it.")
    version: Version = Field(description="Orders the statements about this (study, holder).")
    tier: Literal["distributed", "central", "cache"] = Field(description="Where the pixels lie.")
    announced: bool = Field(description="The hospital has said what belongs to the study.")
    settled: bool = Field(description="The study is quiet and all that was announced has arrived or is accounted for.")
    settled_basis: str | None = Field(default=None, description="What says so: quiet, mpps, notice, pacs.")
    stored: bool = Field(description="Every instance lies in the archive, verified.")
    series_count: int = Field(ge=0, description="Series known.")
    instance_count: int = Field(ge=0, description="Instances viewable.")
    announced_count: int = Field(ge=0, description="Instances announced.")
    stored_count: int = Field(ge=0, description="Instances in archive packs.")
    rejected_count: int = Field(default=0, ge=0, description="Instances refused or quarantined.")
    modalities: list[str] = Field(default=[], description="Modalities in Study (0008,0061).")
    study_date: str | None = Field(default=None, description="Study Date (0008,0020), DA.")
    resident_id: str | None = Field(default=None, description="The resident this study is linked to, if any.")
    changed_at: datetime = Field(description="By the indexer's clock, UTC; never decides order.")


class StudyOpened(Event):
    """Somebody looks at a study."""

    study_uid: Uid = Field(description="Study Instance UID (0020,000D).")
    holder: HospitalId = Field(description="The holder.")
    opened_at: datetime = Field(description="UTC.")


class StudyPinned(Event):
    """A case needs this study at hand: it is not evicted."""

    study_uid: Uid = Field(description="Study Instance UID (0020,000D).")
    holder: HospitalId = Field(description="The holder.")
    case_id: str = Field(description="The consult that needs it.")


class StudyReleased(Event):
    """A case no longer needs this study at hand."""

    study_uid: Uid = Field(description="Study Instance UID (0020,000D).")
    holder: HospitalId = Field(description="The holder.")
    case_id: str = Field(description="The consult that needed it.")
