"""Rules without I/O: grants that are not a case's, the single-use codes of windows, and who registered EHRs are."""

from datetime import datetime, timedelta
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from imaging_common.access import Grant, GrantKind, StudyRef
from imaging_common.events import AccessEnded, AccessGranted
from imaging_common.ids import Uid

Kind = Literal["launch", "share-link", "break-glass"]
RESIDENT_PATTERN = r"^[0-9A-Za-z._-]{1,64}$"
ResidentId = Annotated[str, StringConstraints(pattern=RESIDENT_PATTERN)]
"""A resident's id in the EHR."""
CODE_SECONDS = 60
"""So long a launch code can be exchanged."""
DEFAULT_MINUTES, MAX_MINUTES = 15, 60
MAX_STUDIES = 20
MAX_SHARE_DAYS = 30
MIN_REASON = 10
"""Characters of the reason somebody breaks the glass for."""


class Ehr(BaseModel):
    """An EHR that may open windows, as the operator registers it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    client_id: str
    """Its own account at the identity provider (role `ehr`)."""
    origins: list[str]
    """Where its pages come from; they may embed the viewer and post launch codes."""
    iss: str = ""
    """Its FHIR base address, for SMART App Launch; empty: it launches by codes only."""
    smart_client_id: str = ""
    """Under which it knows the portal as a SMART app."""

    @field_validator("origins")
    @classmethod
    def _are_origins(cls, origins: list[str]) -> list[str]:
        for origin in origins:
            parts = urlsplit(origin)
            if parts.scheme not in ("http", "https") or f"{parts.scheme}://{parts.netloc}" != origin:
                raise ValueError(f"{origin} is no origin: scheme://host[:port]")
        return origins


class AccessGrant(BaseModel):
    """A launch, a share link, or a glass that somebody broke: what it opens, to whom, until when."""

    grant_id: str
    kind: Kind
    user: str = ""
    """Empty for a share link: whoever has it."""
    name: str = ""
    hospital: str = ""
    granted_by: str
    """User id, or the EHR's client id."""
    resident_id: str | None = None
    studies: list[StudyRef] = []
    show: list[Uid] = []
    """Studies the viewer shows first; none: the resident's newest."""
    purpose: str = ""
    """As stated: a code or a reason. May name nobody, but is free text: it is not logged."""
    at: datetime
    until: datetime
    ended_at: datetime | None = None
    token: str = ""
    """Digest of a share link's secret."""
    note: str = ""
    """For whom a share link is."""
    opens: int = 0
    max_opens: int | None = None
    last_opened: datetime | None = None

    def holds(self, now: datetime) -> bool:
        """Whether it opens anything now."""
        return self.ended_at is None and now < self.until

    def state(self, now: datetime) -> str:
        """`open`, `used-up`, `ended` or `expired`."""
        if self.ended_at is not None:
            return "ended"
        if now >= self.until:
            return "expired"
        return "used-up" if self.max_opens is not None and self.opens >= self.max_opens else "open"

    def grants(self, residents: frozenset[str]) -> list[Grant]:
        """For the access rule; `residents` are all ids of the person it names."""
        kind = GrantKind(self.kind)
        if self.resident_id is not None:
            return [Grant(None, self.grant_id, kind=kind, residents=residents)]
        return [Grant(study, self.grant_id, kind=kind) for study in self.studies]

    def granted(self) -> AccessGranted:
        """That it holds, said to the other copies and to whoever must know."""
        return AccessGranted(
            grant_id=self.grant_id,
            kind=self.kind,
            user=self.user,
            hospital=self.hospital,
            granted_by=self.granted_by,
            at=self.at,
            until=self.until,
        )

    def ended(self, by: str, at: datetime) -> AccessEnded:
        """That it was taken back."""
        return AccessEnded(grant_id=self.grant_id, kind=self.kind, revision=2, ended_by=by, at=at)


class LaunchCode(BaseModel):
    """A single-use code; `key` is its digest."""

    key: str
    grant: AccessGrant
    minutes: int = Field(ge=1, le=MAX_MINUTES)
    again: bool = False
    """It opens a second window of a launch that has begun: a new tab, where the frame gets no cookie."""
    expires_at: datetime

    def begun(self, now: datetime) -> AccessGrant:
        """The grant of a launch that begins now."""
        return self.grant.model_copy(update={"at": now, "until": now + timedelta(minutes=self.minutes)})


def by_client(ehrs: list[Ehr], client_id: str) -> Ehr | None:
    """The registered EHR with this account."""
    return next((ehr for ehr in ehrs if ehr.client_id == client_id), None)


def by_issuer(ehrs: list[Ehr], iss: str) -> Ehr | None:
    """The registered EHR with this FHIR base address."""
    wanted = iss.rstrip("/")
    return next((ehr for ehr in ehrs if ehr.iss and ehr.iss.rstrip("/") == wanted), None)
