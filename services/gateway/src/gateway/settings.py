"""The gateway's settings, from the environment with the prefix `GATEWAY_`."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import SettingsConfigDict

from gateway.grants.model import Ehr
from gateway.model import HospitalEntry, parse_hospitals
from gateway.operations.settings import OperationsSettings
from gateway.web.watermark import check_pattern


class GatewaySettings(OperationsSettings):
    """Two copies of one portal share everything here but their port."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_")

    public_url: Annotated[str, AfterValidator(lambda url: url.rstrip("/"))] = "http://127.0.0.1:8080"
    """The address browsers use; its scheme decides whether cookies are `Secure`."""
    oidc_client_id: str = "portal"
    oidc_client_secret: SecretStr = SecretStr("")
    oidc_scopes: str = "openid"
    """What is asked of the provider at sign-in; some give roles or organisation only for a scope of their own."""
    session_secret: SecretStr = SecretStr("")
    """Encrypts the tokens in the session store; at least 32 characters, the same in all copies."""
    session_hours: float = 10.0
    """A session ends then, whatever happens."""
    consult_url: str = "http://127.0.0.1:8085"
    consult_timeout_seconds: float = 10.0
    notification_url: str = "http://127.0.0.1:8086"
    notification_timeout_seconds: float = 20.0
    """Longer than a test event to a receiver may take (`NOTIFICATION_WEBHOOK_TIMEOUT_SECONDS`)."""
    audit_url: str = "http://127.0.0.1:8087"
    audit_timeout_seconds: float = 20.0
    ohif_dir: Path | None = None
    """OHIF's published build; without it the viewer answers 404."""
    hospitals: list[HospitalEntry] = []
    """The region's hospitals as JSON; raise an entry's `revision` with every change."""
    hospitals_file: Path | None = None
    """A file with the same JSON; taken when `hospitals` is empty."""
    ehrs: list[Ehr] = []
    """The registered EHRs as JSON: `[{"client_id": …, "origins": [scheme://host:port, …], "iss": …, "smart_client_id":
    …}]`. Their pages may embed the viewer."""
    heartbeat_seconds: float = 10.0
    """Between two heartbeats of an edge agent; after three without one its hospital counts as offline."""
    frame_wait_seconds: float = 30.0
    """So long an image is waited for that lies at its hospital."""
    retrieval_silence_seconds: float = 60.0
    """A whole series or study is given up when nothing of it lands for so long."""
    viewer_linger_seconds: float = 10.0
    """So long after the last viewer left a retrieval is cancelled."""
    prefetch_priors: int = 3
    """Earlier studies of the same person that opening a study brings into the cache tier; 0: none."""
    prefetch_record_studies: int = 5
    """Studies that opening a resident's record in the EHR brings into the cache tier."""
    ingest_url: str = "http://127.0.0.1:8081"
    """Where annotations that readers save are stored; the portal's client needs a service account for it."""
    ingest_ca: Path | None = None
    """Whose certificates the ingest may have; unset: the system's."""
    ingest_certificate: Path | None = None
    """The portal's own certificate towards the ingest, with `ingest_key`; unset: none is shown."""
    ingest_key: Path | None = None
    ingest_timeout_seconds: float = 30.0
    max_annotation_bytes: int = 16_000_000
    """Of one request of the viewer to save measurements or presentation states."""
    upload_batch_bytes: int = 4 * 1024**3
    """Of one request of an upload, which streams through; a file larger than that is not taken."""
    watermark: Literal["on", "off"] = "on"
    """Whether the viewer shows who looks and when across the images (the region's policy)."""
    watermark_text: Annotated[str, AfterValidator(check_pattern)] = "{name} {user} {time}"
    """Its text: `{name}`, `{user}`, `{hospital}` and `{time}` are filled in."""
    watermark_opacity: float = Field(default=0.12, ge=0.02, le=0.6)
    time_zone: str = "Asia/Shanghai"
    """In which the portal shows times."""

    @property
    def ingest_identity(self) -> tuple[Path, Path] | None:
        """The portal's certificate and key towards the ingest."""
        return (self.ingest_certificate, self.ingest_key) if self.ingest_certificate and self.ingest_key else None

    @property
    def frame_ancestors(self) -> str:
        """The registered EHRs' origins, as CSP writes them: other sites that may embed the viewer."""
        return " ".join(dict.fromkeys(origin for ehr in self.ehrs for origin in ehr.origins))

    @property
    def secure(self) -> bool:
        """Whether browsers come by https."""
        return self.public_url.startswith("https://")

    def region_hospitals(self) -> list[HospitalEntry]:
        """The entries of `hospitals`, else of `hospitals_file`."""
        if self.hospitals or self.hospitals_file is None:
            return self.hospitals
        return parse_hospitals(self.hospitals_file.read_text("utf-8"))
