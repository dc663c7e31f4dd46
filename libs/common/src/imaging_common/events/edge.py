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
    """A hospital states which instances of a study it has. The hospital is the one the topic names."""

    study_uid: Uid = Field(description="Study Instance UID (0020,000D).")
    announcement: int = Field(ge=1, description="Counts this hospital's announcements of this study.")
    basis: Literal["quiet", "mpps", "notice", "pacs"] = Field(description="What made the agent call it settled.")
    instances: list[ManifestEntry] = Field(description="Every instance acknowledged so far, in order of arrival.")
    announced_at: datetime = Field(description="When the agent announced it, UTC.")
    rejected: list[RejectedEntry] = Field(default=[], description="Instances the centre refused, not among the others.")


class StudyWithdrawn(Event):
    """A hospital states that it no longer has a study."""

    study_uid: Uid = Field(description="Study Instance UID (0020,000D).")
    announcement: int = Field(ge=1, description="Counts this hospital's announcements of this study.")
    reason: str = Field(description="Why, in a short phrase without personal data.")


class ReportAvailable(Event):
    """A hospital states that it has a report on a study."""

    study_uid: Uid = Field(description="Study Instance UID (0020,000D).")
    report_id: str = Field(description="The hospital's filler report id.")
    version: int = Field(ge=1, description="Counts the versions of this report.")


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


class BatchStored(Event):
    """Receipt: the centre's archive holds these instances, verified; the edge's copy may go to its ring."""

    hospital: HospitalId = Field(description="The hospital that sent them.")
    study_uid: Uid = Field(description="Study Instance UID (0020,000D).")
    instances: list[ManifestEntry] = Field(description="The instances that the archive can give back byte for byte.")
