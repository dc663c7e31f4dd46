"""Settings of the edge agent, from the environment with the prefix `EDGE_AGENT_`."""

from pathlib import Path

from pydantic import SecretStr
from pydantic_settings import SettingsConfigDict

from imaging_common.settings import ServiceSettings


class Settings(ServiceSettings):
    """One edge agent serves one hospital."""

    model_config = SettingsConfigDict(env_prefix="EDGE_AGENT_")

    hospital: str
    ae_title: str
    dimse_host: str = "127.0.0.1"
    dimse_port: int = 11112
    allowed_callers: str = ""
    """Comma-separated `AE@address`; either part may be `*`. Empty: nobody may call."""
    receivers: int = 2
    """Processes that share the DICOM port."""
    spool_dir: Path
    spool_limit_bytes: int = 20 * 1024**3
    """Bytes of instances that wait for the centre; beyond it C-STORE answers 0xA700."""
    ring_bytes: int = 2 * 1024**3
    """Bytes of instances kept after the centre's receipt."""
    quiet_seconds: float = 10.0
    """Seconds without a new instance after which a study is announced."""
    heartbeat_seconds: float = 10.0
    ingest_url: str
    oidc_client_id: str
    oidc_client_secret: SecretStr
    first_batch_instances: int = 8
    """The first batch of a study is small, so that it can be seen at once."""
    batch_bytes: int = 64 * 1024 * 1024
    uploads: int = 3
    """Batches on their way at the same time."""
