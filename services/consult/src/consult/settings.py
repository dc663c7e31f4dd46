"""Settings of the consult service, from the environment with the prefix `CONSULT_`."""

from pathlib import Path

from pydantic_settings import SettingsConfigDict

from imaging_common.people import DirectorySettings
from imaging_common.settings import ServiceSettings


class ConsultSettings(DirectorySettings, ServiceSettings):
    """The consultation workflow."""

    model_config = SettingsConfigDict(env_prefix="CONSULT_")

    database: str = "consult"
    signing_seconds: float = 300.0
    """How old the sign-in of who signs a report may be."""
    dicomweb_url: str = "http://127.0.0.1:8080/dicomweb"
    """The gateway's DICOMweb root: it is asked whether an applicant may see another hospital's study."""
    time_zone: str = "Asia/Shanghai"
    """The region's, for rosters."""
    duty_day_begins: int = 8
    """Hour at which the day shift of rosters begins; before it runs the night of the day before."""
    duty_day_ends: int = 18
    routing_most_open: int = 20
    """An expert with so many open cases gets no further one by the routing table."""
    portal_url: str = "http://127.0.0.1:8080"
    """The portal, as people reach it: where the links of invitations end."""
    invited_hospital: str = "outside"
    """The hospital of the level `outside` that invited experts are of."""
    invitation_client: str = "invitations"
    """The provider's client whose redirect addresses are the portal's cases; nobody signs in by it."""
    invitation_seconds: int = 3 * 24 * 3600
    """How long the link of an invitation is good."""
    ingest_url: str = "http://127.0.0.1:8080"
    """The region's ingest: the DICOM objects of reports are stored there."""
    ingest_ca: Path | None = None
    """Whose certificates are trusted where it speaks TLS; None: the system's."""
    ingest_timeout_seconds: float = 60.0
    limit_minute_seconds: float = 60.0
    """How long a minute of a time limit is: tests and demonstrations make it shorter."""
    limit_poll_seconds: float = 1.0
    """How often a copy looks for time limits that are due."""
