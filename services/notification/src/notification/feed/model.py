"""What concerns an organisation, and the statements of its feed: pure rules over public events."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from imaging_common.events import Event, ReportAmended, ReportDelivered, ReportIssued, StudyChanged
from imaging_common.ids import HospitalId

PUBLIC_EVENTS: tuple[type[Event], ...] = (StudyChanged, ReportIssued, ReportAmended, ReportDelivered)
"""What leaves the region's inside. How a case goes is read by FHIR (`Task`): its transitions are work of people."""
PUBLIC_TYPES: tuple[str, ...] = tuple(event.type_name() for event in PUBLIC_EVENTS)
ReportEvent = ReportIssued | ReportAmended | ReportDelivered


class Organisation(BaseModel):
    """An organisation whose EHR subscribes, and the hospitals it is concerned with."""

    model_config = ConfigDict(frozen=True)

    id: HospitalId
    """As it stands in the topic's name; written like a hospital's id."""
    hospitals: frozenset[HospitalId]
    revision: int = Field(default=1, ge=1)
    """Counts its changes."""

    @property
    def topic(self) -> str:
        """Where its EHR reads."""
        return f"ehr-{self.id}-events"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known beside the event itself."""

    linked_by: frozenset[str] = frozenset()
    """Organisations whose EHR keeps the record of a resident that the event's studies are, or were until it, linked to.
    """


def concerns(organisation: Organisation, event: Event, facts: Facts = Facts()) -> bool:
    """Whether a public event goes to an organisation's EHR.

    It does when it is about a study that one of its hospitals holds or that is linked to one of its residents, or about
    a report that one of its hospitals asked for or that is on such a study. The statement that takes a study away from
    its resident is the last one that goes there. An organisation learns nothing of other hospitals' other patients, and
    nothing of any other kind of event.
    """
    if isinstance(event, StudyChanged):
        hospitals = {event.holder}
    elif isinstance(event, ReportEvent):
        hospitals = {event.applicant_hospital, *(study.holder for study in event.studies)}
    else:
        return False
    return not organisation.hospitals.isdisjoint(hospitals) or organisation.id in facts.linked_by


@dataclass(frozen=True, slots=True)
class Statement:
    """A public event as it came."""

    event: Event
    event_id: str
    key: str
    """The Kafka key: orders the statements about one aggregate."""
    traceparent: str | None = None

    @property
    def aggregate(self) -> str:
        """What it is the last word about: of a case one about its report and one about where that was brought."""
        event = self.event
        if isinstance(event, StudyChanged):
            return study_name(event.study_uid, event.holder)
        assert isinstance(event, ReportEvent)
        kind = "delivered" if isinstance(event, ReportDelivered) else "report"
        return f"{kind}/{event.consult_id}"

    @property
    def studies(self) -> tuple[str, ...]:
        """The studies it is about, by the names of their aggregates."""
        event = self.event
        if isinstance(event, StudyChanged):
            return (study_name(event.study_uid, event.holder),)
        assert isinstance(event, ReportEvent)
        return tuple(study_name(one.study_uid, one.holder) for one in event.studies)

    @property
    def resident(self) -> str | None:
        """The resident it names."""
        return self.event.resident_id if isinstance(self.event, StudyChanged) else None

    @property
    def order(self) -> tuple[int, int, int]:
        """Which of two statements about one aggregate is the newer one; a delivery follows its report's version."""
        event = self.event
        assert isinstance(event, StudyChanged | ReportEvent)
        report = 0 if isinstance(event, StudyChanged) else event.report_version
        return (report, event.version.epoch, event.version.n)


def study_name(study_uid: str, holder: str) -> str:
    """A study's name among the aggregates."""
    return f"study/{study_uid}/{holder}"


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """A statement in an organisation's feed."""

    organisation: str
    seq: int
    """1 for the first, without gaps; later statements have greater numbers."""
    at: datetime
    """When it got there, UTC."""
    event_id: str
    event_type: str
    key: str
    data: str
    """The event, JSON."""
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class FeedState:
    """How far an organisation's feed is."""

    newest: int
    """The last number given; 0: none yet."""
    oldest: int
    """The first that is still kept; `newest + 1`: none is."""
    published: int
    """The last that is on its topic."""


class Snapshot(BaseModel):
    """A job: put what an organisation missed into its feed."""

    id: str
    organisation: str
    kind: Literal["hospitals", "resident"]
    before: frozenset[str] | None = None
    """For `hospitals`: those it was concerned with before, whose statements it has had; None: it is new."""
    resident: str = ""
    cursor: str = ""
    """The last aggregate that was looked at."""
    put: int = 0
    """Statements put into the feed so far."""
    created_at: datetime
    done_at: datetime | None = None


def missed(organisation: Organisation, job: Snapshot, event: Event, facts: Facts) -> bool:
    """Whether the job puts this statement in: it concerns the organisation now and did not before the job's cause."""
    if not concerns(organisation, event, facts):
        return False
    if job.kind == "hospitals" and job.before is None:
        return True
    if job.kind == "hospitals":
        return not concerns(organisation.model_copy(update={"hospitals": job.before}), event, facts)
    return not concerns(organisation, event)
