"""Events on a study's way through the centre."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from imaging_common.events.base import Event, Version
from imaging_common.events.edge import ManifestEntry
from imaging_common.ids import HospitalId, Sha256, Uid


class InstancesReceived(Event):
    """One batch of one study lies in staging or in the cache tier, durable, and is viewable from there."""

    hospital: HospitalId = Field(description="The hospital whose credentials stored it.")
    study_uid: Uid = Field(description="Study Instance UID (0020,000D).")
    batch_id: Sha256 = Field(description="Digest over the instances' digests: the same batch again has the same id.")
    manifest_key: str = Field(description="Key of the batch's manifest in its bucket.")
    instance_count: int = Field(ge=1, description="Instances in the batch.")
    byte_count: int = Field(ge=1, description="Bytes of the batch.")
    has_edge: bool = Field(description="False: no edge agent announces this study, so a quiet timer settles it.")
    bucket: Literal["staging", "cache"] = Field(
        default="staging", description="`cache`: copies of what the hospital's PACS keeps; they may be evicted."
    )
    retrieval_id: str | None = Field(default=None, description="The retrieval that brought them, if one did.")


class InstancesStored(Event):
    """An archive pack was written and verified; its manifest says what it holds."""

    hospital: HospitalId = Field(description="The holder.")
    study_uid: Uid = Field(description="Study Instance UID (0020,000D).")
    series_uid: Uid = Field(description="Series Instance UID (0020,000E).")
    pack_id: Sha256 = Field(description="Digest over the pack's instances.")
    manifest_key: str = Field(description="Key of the pack's manifest in the bucket `archive`.")
    instance_count: int = Field(ge=1, description="Instances in the pack.")


class InstancesEvicted(Event):
    """Batches left the cache tier, or a deleted study's objects left the archive; the study stays listed or not."""

    hospital: HospitalId = Field(description="The holder.")
    study_uid: Uid = Field(description="Study Instance UID (0020,000D).")
    bucket: Literal["cache", "archive", "staging"] = Field(description="The bucket they were in.")
    manifest_keys: list[str] = Field(description="Keys of the manifests whose data is no longer there.")


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
    instance_count: int = Field(ge=0, description="Instances listed: at the holder, in the centre, or both.")
    announced_count: int = Field(ge=0, description="Instances announced.")
    stored_count: int = Field(ge=0, description="Instances in archive packs.")
    rejected_count: int = Field(default=0, ge=0, description="Instances refused or quarantined.")
    modalities: list[str] = Field(default=[], description="Modalities in Study (0008,0061).")
    study_date: str | None = Field(default=None, description="Study Date (0008,0020), DA.")
    resident_id: str | None = Field(default=None, description="The resident this study is linked to, if any.")
    online_count: int = Field(default=0, ge=0, description="Instances whose pixels lie in the centre now.")
    withdrawn: bool = Field(default=False, description="The hospital no longer has the study.")
    deleted: bool = Field(default=False, description="Deleted in the central tier; it can be undone for a while.")
    corrections: int = Field(default=0, ge=0, description="Instances that replaced an earlier one, or left the study.")
    report_count: int = Field(default=0, ge=0, description="The hospital's own reports on it.")
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


class StudyDeletionRequested(Event):
    """An operator deletes a study of the central tier: at once out of sight, for good after the retention."""

    study_uid: Uid = Field(description="Study Instance UID (0020,000D).")
    holder: HospitalId = Field(description="The holder.")
    revision: int = Field(ge=1, description="Counts the commands about this (study, holder).")
    reason: str = Field(max_length=64, description="A code of DICOM CID 7011 (Rejected for …), never free text.")
    user: str = Field(description="Who asked.")
    purge_after: datetime = Field(description="Until then it can be undone, UTC.")


class StudyRestored(Event):
    """A deletion is undone within its retention."""

    study_uid: Uid = Field(description="Study Instance UID (0020,000D).")
    holder: HospitalId = Field(description="The holder.")
    revision: int = Field(ge=1, description="Counts the commands about this (study, holder).")
    user: str = Field(description="Who asked.")


class StudyCheckRequested(Event):
    """What is known of a study is to be compared with what the object store holds of it, and mended."""

    study_uid: Uid = Field(description="Study Instance UID (0020,000D).")
    holder: HospitalId = Field(description="The holder.")
    told: Version | None = Field(
        default=None, description="The last version anybody was told, where it is known: the next one is newer."
    )
    user: str = Field(description="Who asked.")


class StudyHeld(Event):
    """A legal hold on a study is set or lifted: while it holds nothing of the study is deleted or evicted."""

    study_uid: Uid = Field(description="Study Instance UID (0020,000D).")
    holder: HospitalId = Field(description="The holder.")
    revision: int = Field(ge=1, description="Counts the commands about this (study, holder).")
    held: bool = Field(description="Whether it holds now.")
    user: str = Field(description="Who asked.")
