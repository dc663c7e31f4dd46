"""Events in: which event leads to which use case."""

from datetime import UTC, datetime

from prometheus_client import Histogram

from imaging_common.events import (
    Envelope,
    HospitalRegistered,
    InstancesEvicted,
    InstancesReceived,
    InstancesStored,
    PatientLinked,
    PatientUnlinked,
    ReportMatched,
    ReportReceived,
    ResidentMerged,
    StudyAvailable,
    StudyCheckRequested,
    StudyDeletionRequested,
    StudyHeld,
    StudyRestored,
    StudyWithdrawn,
)
from imaging_common.messaging import EventRouter
from imaging_common.objects.model import ARCHIVE_BUCKET
from imaging_common.telemetry.metrics import DELAY_BUCKETS
from indexer.errors import ForeignManifest
from indexer.ports import Index
from indexer.usecases.announce_study import AnnounceStudy
from indexer.usecases.check_study import CheckStudy
from indexer.usecases.command_study import CommandStudy
from indexer.usecases.evict_instances import EvictInstances
from indexer.usecases.index_catalogue import IndexCatalogue
from indexer.usecases.index_report import IndexReport
from indexer.usecases.link_patient import LinkPatient, MergeResidents
from indexer.usecases.sweep_objects import IndexObject
from indexer.usecases.withdraw_study import WithdrawStudy

VISIBLE_SECONDS = Histogram(
    "imaging_index_visible_seconds",
    "Seconds from a batch's announcement by the ingest until it can be found and viewed.",
    ["hospital", "bucket"],
    buckets=DELAY_BUCKETS,
)


def build_instances_router(index_object: IndexObject, evict_instances: EvictInstances) -> EventRouter:
    """What comes and goes of instances' bytes: somebody may wait for it, so it has readers of its own."""
    router = EventRouter()

    @router.on(InstancesReceived, "instances-received")
    async def index_batch_on_instances_received(event: InstancesReceived, envelope: Envelope) -> None:
        """On InstancesReceived: index the staged or cached batch; emits StudyChanged."""
        _refuse_foreign(event.hospital, event.study_uid, event.manifest_key)
        await index_object(event.bucket, event.manifest_key)
        seconds = (datetime.now(UTC) - envelope.time).total_seconds()
        VISIBLE_SECONDS.labels(event.hospital, event.bucket).observe(max(0.0, seconds))

    @router.on(InstancesStored, "instances-stored")
    async def move_location_on_instances_stored(event: InstancesStored, envelope: Envelope) -> None:
        """On InstancesStored: point to the archive pack; emits InstancesLocated and StudyChanged."""
        _refuse_foreign(event.hospital, event.study_uid, event.manifest_key)
        await index_object(ARCHIVE_BUCKET, event.manifest_key)

    @router.on(InstancesEvicted, "instances-stored")
    async def forget_location_on_instances_evicted(event: InstancesEvicted, envelope: Envelope) -> None:
        """On InstancesEvicted: no longer point to what is gone; emits StudyChanged."""
        await evict_instances(event, envelope.time)

    return router


def build_router(
    index: Index,
    announce_study: AnnounceStudy,
    index_catalogue: IndexCatalogue,
    withdraw_study: WithdrawStudy,
    command_study: CommandStudy,
) -> EventRouter:
    """What is said of studies and hospitals."""
    router = EventRouter()

    @router.on(StudyAvailable, "edge-events-<hospital>")
    async def index_study_on_study_available(event: StudyAvailable, envelope: Envelope) -> None:
        """On StudyAvailable: note what the speaking hospital says of its own study; emits StudyChanged."""
        if event.catalogue_key is None:
            await announce_study(envelope.speaker, event)
        else:
            await index_catalogue(envelope.speaker, event.study_uid, event.catalogue_key, event)

    @router.on(StudyWithdrawn, "edge-events-<hospital>")
    async def hide_study_on_study_withdrawn(event: StudyWithdrawn, envelope: Envelope) -> None:
        """On StudyWithdrawn: the speaking hospital no longer has the study; emits StudyChanged."""
        await withdraw_study(envelope.speaker, event)

    @router.on(StudyDeletionRequested, "study-commanded")
    async def hide_study_on_study_deletion_requested(event: StudyDeletionRequested, envelope: Envelope) -> None:
        """On StudyDeletionRequested: the study is not listed from now on; emits StudyChanged."""
        await command_study(event)

    @router.on(StudyRestored, "study-commanded")
    async def list_study_on_study_restored(event: StudyRestored, envelope: Envelope) -> None:
        """On StudyRestored: the study is listed again; emits StudyChanged."""
        await command_study(event)

    @router.on(StudyHeld, "study-commanded")
    async def note_hold_on_study_held(event: StudyHeld, envelope: Envelope) -> None:
        """On StudyHeld: the study's document says so; emits StudyChanged."""
        await command_study(event)

    @router.on(HospitalRegistered, "hospital-registered")
    async def keep_policy_on_hospital_registered(event: HospitalRegistered, envelope: Envelope) -> None:
        """On HospitalRegistered: keep the hospital's tier for studies to come."""
        await index.register(event)

    return router


def build_check_router(check_study: CheckStudy) -> EventRouter:
    """What operators do when something was lost."""
    router = EventRouter()

    @router.on(StudyCheckRequested, "study-commanded")
    async def check_study_on_study_check_requested(event: StudyCheckRequested, envelope: Envelope) -> None:
        """On StudyCheckRequested: compare the study with the object store and mend it; emits StudyChanged."""
        await check_study(event)

    return router


def build_reports_router(index_report: IndexReport) -> EventRouter:
    """What comes of the hospitals' reports, and what operators say of them."""
    router = EventRouter()

    @router.on(ReportReceived, "reports-received")
    async def index_report_on_report_received(event: ReportReceived, envelope: Envelope) -> None:
        """On ReportReceived: index the version that lies in the archive; emits StudyChanged."""
        _refuse_foreign(event.hospital, f"reports/{event.report_key}", event.manifest_key)
        await index_report.take(event.manifest_key)

    @router.on(ReportMatched, "reports-received")
    async def match_report_on_report_matched(event: ReportMatched, envelope: Envelope) -> None:
        """On ReportMatched: the report belongs where the operator says; emits StudyChanged."""
        await index_report.match(event)

    return router


def build_residents_router(link_patient: LinkPatient, merge_residents: MergeResidents) -> EventRouter:
    """What is said of who is the same person."""
    router = EventRouter()

    @router.on(PatientLinked, "patient-linked")
    async def link_patient_on_patient_linked(event: PatientLinked, envelope: Envelope) -> None:
        """On PatientLinked: all studies of that patient are this resident's; emits StudyChanged for each."""
        await link_patient(event)

    @router.on(PatientUnlinked, "patient-linked")
    async def unlink_patient_on_patient_unlinked(event: PatientUnlinked, envelope: Envelope) -> None:
        """On PatientUnlinked: take back the link of that source; emits StudyChanged for each study."""
        await link_patient(event)

    @router.on(ResidentMerged, "resident-merged")
    async def keep_redirect_on_resident_merged(event: ResidentMerged, envelope: Envelope) -> None:
        """On ResidentMerged: keep the redirect, which readers follow."""
        await merge_residents(event)

    return router


def _refuse_foreign(hospital: str, study_uid: str, key: str) -> None:
    if not key.startswith(f"{hospital}/{study_uid}/"):
        raise ForeignManifest("an event names a manifest of another hospital or study")
