"""Events between the centre and a hospital's edge agent (`edge-events-<hospital>`, `edge-commands-<hospital>`)."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from imaging_common.events.base import Event
from imaging_common.ids import HospitalId, Sha256, Uid


class ManifestEntry(Event):
    """One instance that the edge agent acknowledged to its sender."""

    sop_instance_uid: Uid = Field(description="SOP Instance UID (0008,0018).")
    sha256: Sha256 = Field(description="SHA-256 of the Part 10 file as received.")


class RejectedEntry(ManifestEntry):
    """One instance that the edge agent acknowledged and the centre then refused; it lies in the agent's quarantine."""

    reason: str = Field(max_length=100, description="The Failure Reason (0008,1197) or rule, a word or code.")


class StudyAvailable(Event):
    """A hospital states which instances of a study it has. The hospital is the one the topic names.

    A study that came through the agent lists its instances; of a study in the hospital's own PACS the list lies in
    the catalogue, because it can be long and holds attributes of the patient.
    """

    study_uid: Uid = Field(description="Study Instance UID (0020,000D).")
    announcement: int = Field(ge=1, description="Counts this hospital's announcements of this study.")
    basis: Literal["quiet", "mpps", "notice", "pacs"] = Field(description="What made the agent call it settled.")
    instances: list[ManifestEntry] = Field(description="Every instance acknowledged so far, in order of arrival.")
    announced_at: datetime = Field(description="When the agent announced it, UTC.")
    rejected: list[RejectedEntry] = Field(default=[], description="Instances the centre refused, not among the others.")
    catalogue_key: str | None = Field(
        default=None, description="Key in the bucket `cache` of what the PACS says of the study; None: not in a PACS."
    )


class StudyWithdrawn(Event):
    """A hospital states that it no longer has a study."""

    study_uid: Uid = Field(description="Study Instance UID (0020,000D).")
    announcement: int = Field(ge=1, description="Counts this hospital's announcements of this study.")
    reason: str = Field(description="Why, in a short phrase without personal data.")


class PacsState(Event):
    """How the agent and its hospital's PACS get on."""

    reachable: bool = Field(description="Whether the last call was answered.")
    since: datetime = Field(description="Since when that is so, UTC.")
    last_sweep_at: datetime | None = Field(default=None, description="When the last whole sweep ended, UTC.")
    studies: int = Field(default=0, ge=0, description="Studies known in the PACS.")
    backfill_done: bool = Field(default=False, description="Whether all years of history are announced.")
    waiting: int = Field(default=0, ge=0, description="Studies known but not yet announced.")


class EdgeHeartbeat(Event):
    """An edge agent says that it lives, and how much it still has to send."""

    sequence: int = Field(ge=0, description="Counts the heartbeats since the agent started.")
    backlog_instances: int = Field(
        ge=0, description="Instances acknowledged to senders but not yet stored in the centre."
    )
    backlog_bytes: int = Field(ge=0, description="Bytes of those instances.")
    spool_bytes: int = Field(ge=0, description="Bytes in the spool, the ring of sent copies included.")
    spool_limit_bytes: int = Field(ge=0, description="The spool's bound in bytes.")
    agent_version: str = Field(description="Version of the agent's software.")
    sent_at: datetime = Field(description="By the agent's clock, UTC.")
    pacs: PacsState | None = Field(default=None, description="None: the hospital has no PACS.")
    oldest_unsent_at: datetime | None = Field(
        default=None, description="When the oldest instance arrived that the centre has not taken yet, UTC; None: none."
    )
    consumer_lag: int | None = Field(
        default=None, ge=0, description="Records on its command topic that the agent has not read yet; None: not known."
    )


class BatchStored(Event):
    """Receipt: the centre's archive holds these instances, verified; the edge's copy may go to its ring."""

    hospital: HospitalId = Field(description="The hospital that sent them.")
    study_uid: Uid = Field(description="Study Instance UID (0020,000D).")
    instances: list[ManifestEntry] = Field(description="The instances that the archive can give back byte for byte.")


class SeriesWanted(Event):
    """A series, or some of its instances."""

    series_uid: Uid = Field(description="Series Instance UID (0020,000E).")
    instances: list[Uid] = Field(default=[], description="SOP Instance UIDs (0008,0018); empty: all of them.")


class RetrieveRequested(Event):
    """The centre wants images from the hospital's PACS in the cache tier.

    The same `retrieval_id` again with a higher `revision` changes what is wanted, first, or how urgently.
    """

    retrieval_id: str = Field(pattern=r"^[0-9a-f]{32}$", description="Id of the retrieval, shared by all who want it.")
    revision: int = Field(default=1, ge=1, description="Counts the requests of this retrieval; the highest counts.")
    study_uid: Uid = Field(description="Study Instance UID (0020,000D).")
    priority: int = Field(
        ge=0, le=9, description="0 somebody looks, 2 a workstation moves, 5 prefetch, 9 migration; lower goes first."
    )
    deadline: datetime = Field(description="After this nobody waits any more, UTC.")
    series: list[SeriesWanted] = Field(default=[], description="What is wanted; empty: the whole study.")
    first: list[Uid] = Field(default=[], max_length=64, description="SOP Instance UIDs to be sent before all others.")


class RetrieveCancelled(Event):
    """Nobody wants this retrieval any more; what is on its way may still come."""

    retrieval_id: str = Field(description="Id of the retrieval.")
    study_uid: Uid = Field(description="Study Instance UID (0020,000D).")


class RetrieveProgressed(Event):
    """How far a retrieval is; at most twice a second, and once at its end."""

    retrieval_id: str = Field(description="Id of the retrieval.")
    study_uid: Uid = Field(description="Study Instance UID (0020,000D).")
    state: Literal["queued", "running", "done", "cancelled"] = Field(description="Where it is.")
    instances_total: int = Field(ge=0, description="Instances wanted.")
    instances_done: int = Field(ge=0, description="Instances the centre has acknowledged.")
    bytes_done: int = Field(ge=0, description="Bytes the centre has acknowledged.")
    missing: list[Uid] = Field(default=[], max_length=64, description="Instances the PACS did not give, at the end.")
    at: datetime = Field(description="By the agent's clock, UTC.")


RetrieveReason = Literal["pacs-unreachable", "pacs-refused", "study-gone", "deadline", "disk-full", "centre-refused"]


class RetrieveFailed(Event):
    """A retrieval ended without all that was wanted; what came before stays."""

    retrieval_id: str = Field(description="Id of the retrieval.")
    study_uid: Uid = Field(description="Study Instance UID (0020,000D).")
    reason: RetrieveReason = Field(description="Why.")
    instances_done: int = Field(ge=0, description="Instances the centre has acknowledged.")
    instances_missing: int = Field(ge=0, description="Instances that did not come.")
    at: datetime = Field(description="By the agent's clock, UTC.")


class OrderPlaced(Event):
    """An imaging order for the hospital's modality worklist (PS3.4 K). Personal data: only on that hospital's topic."""

    order_id: str = Field(pattern=r"^[0-9a-zA-Z-]{1,64}$", description="Id of the order; the same again replaces it.")
    revision: int = Field(ge=1, description="Counts the statements about this order.")
    accession: str = Field(max_length=16, description="Accession Number (0008,0050).")
    patient_id: str = Field(max_length=64, description="Patient ID (0010,0020).")
    patient_name: str = Field(max_length=194, description="Patient's Name (0010,0010), PN with component groups.")
    birth_date: str = Field(default="", pattern=r"^(\d{8})?$", description="Patient's Birth Date (0010,0030), DA.")
    sex: Literal["", "M", "F", "O"] = Field(default="", description="Patient's Sex (0010,0040).")
    modality: str = Field(max_length=16, description="Modality (0008,0060) of the scheduled procedure step.")
    station_ae_title: str = Field(default="", max_length=16, description="Scheduled Station AE Title (0040,0001).")
    scheduled_at: datetime = Field(description="Start of the scheduled procedure step, in the hospital's local time.")
    procedure: str = Field(default="", max_length=64, description="Requested Procedure Description (0032,1060).")
    body_part: str = Field(default="", max_length=16, description="Body Part Examined (0018,0015).")
    referring_physician: str = Field(default="", max_length=194, description="Referring Physician's Name (0008,0090).")
    study_uid: Uid = Field(description="Study Instance UID (0020,000D) that the modality is to use.")


class OrderCancelled(Event):
    """An order is taken back: it leaves the worklist."""

    order_id: str = Field(description="Id of the order.")
    revision: int = Field(ge=1, description="Counts the statements about this order.")


class ReportWriteBackRequested(Event):
    """Objects of a consult's report are to go into the hospital's own PACS (C-STORE); repeated with the same id."""

    write_back_id: str = Field(pattern=r"^[0-9a-f]{32}$", description="Of consult, report version and hospital.")
    consult_id: str = Field(description="The consult.")
    report_version: int = Field(ge=1, description="Counts the versions of its report.")
    study_uid: Uid = Field(description="Study Instance UID (0020,000D) the objects belong to.")
    holder: HospitalId = Field(description="The holder under which the centre keeps them.")
    instances: list[ManifestEntry] = Field(min_length=1, max_length=64, description="The objects, and their digests.")
    deadline: datetime = Field(description="After this it is told as failed, UTC.")


WriteBackReason = Literal["", "no-pacs", "pacs-unreachable", "pacs-refused", "centre-unreachable", "deadline"]


class WriteBackDone(Event):
    """The receipt of a write-back: what the PACS answered. The objects are never announced as the hospital's own."""

    write_back_id: str = Field(description="Id of the write-back.")
    consult_id: str = Field(description="The consult.")
    report_version: int = Field(ge=1, description="Counts the versions of its report.")
    study_uid: Uid = Field(description="Study Instance UID (0020,000D).")
    stored: list[Uid] = Field(default=[], max_length=64, description="SOP Instance UIDs the PACS took with 0x0000.")
    reason: WriteBackReason = Field(default="", description="Why not all are there; empty: all are.")
    at: datetime = Field(description="By the agent's clock, UTC.")


class AnnounceRequested(Event):
    """The centre lost what the hospital announced: it is to be announced again, under the next numbers."""

    study_uid: Uid | None = Field(default=None, description="Study Instance UID (0020,000D); None: every study.")
    user: str = Field(description="Who asked.")


class InstancesWanted(Event):
    """The centre lost these instances: whatever of them still lies in the agent's spool is to be sent once more."""

    study_uid: Uid = Field(description="Study Instance UID (0020,000D).")
    instances: list[ManifestEntry] = Field(min_length=1, max_length=1000, description="What was lost.")
    user: str = Field(description="Who asked.")


class EchoRequested(Event):
    """An operator wants to know whether the agent's PACS answers a C-ECHO (PS3.7 9.1.5)."""

    echo_id: str = Field(pattern=r"^[0-9a-f]{32}$", description="Id of the test.")
    deadline: datetime = Field(description="After this nobody waits any more, and nothing is asked, UTC.")


EchoReason = Literal["", "no-pacs", "pacs-unreachable", "pacs-refused", "deadline"]


class EchoAnswered(Event):
    """How a test of the PACS ended."""

    echo_id: str = Field(description="Id of the test.")
    reason: EchoReason = Field(description="Why it failed; empty: the PACS answered with 0x0000.")
    milliseconds: int = Field(ge=0, description="From the association request to the answer.")
    at: datetime = Field(description="By the agent's clock, UTC.")
