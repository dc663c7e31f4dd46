"""Settings of the edge agent, from the environment with the prefix `EDGE_AGENT_`."""

from pathlib import Path

from pydantic import SecretStr
from pydantic_settings import SettingsConfigDict

from imaging_common.ids import HospitalId
from imaging_common.settings import ServiceSettings


class Settings(ServiceSettings):
    """One edge agent serves one hospital."""

    model_config = SettingsConfigDict(env_prefix="EDGE_AGENT_")

    hospital: HospitalId
    ae_title: str
    dimse_host: str = "127.0.0.1"
    dimse_port: int = 11112
    allowed_callers: str = ""
    """Comma-separated `AE@address`; either part may be `*`. Empty: nobody may call."""
    receivers: int = 2
    """Processes that take associations from the DICOM port."""
    max_associations: int = 128
    """Of each receiving process."""
    spool_dir: Path
    spool_limit_bytes: int = 20 << 30
    """Bytes of instances that the centre has not stored yet; beyond it C-STORE answers 0xA700."""
    ring_bytes: int = 2 << 30
    """Bytes of copies kept after the centre's receipt; they make way when the spool needs the room."""
    quiet_seconds: float = 10.0
    """Seconds without a new instance after which a study is announced."""
    heartbeat_seconds: float = 10.0
    ingest_url: str
    oidc_client_id: str = ""
    oidc_client_secret: SecretStr = SecretStr("")
    first_batch_instances: int = 8
    """The first batch of a study is small, so that it can be seen at once."""
    batch_bytes: int = 64 << 20
    uploads: int = 4
    """Batches on their way at the same time."""
    uploads_per_study: int = 2

    def environment(self) -> dict[str, str]:
        """These settings as environment variables, for a receiving process (secrets it does not need left out)."""
        values = self.model_dump(exclude={"oidc_client_secret", "kafka_password", "minio_secret_key"})
        return {f"EDGE_AGENT_{name.upper()}": str(value) for name, value in values.items()}
