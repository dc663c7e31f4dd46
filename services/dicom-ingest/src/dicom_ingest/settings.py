"""Settings of the ingest, from the environment with the prefix `DICOM_INGEST_`."""

from pydantic_settings import SettingsConfigDict

from imaging_common.settings import ServiceSettings


class Settings(ServiceSettings):
    """The centre's door for DICOM."""

    model_config = SettingsConfigDict(env_prefix="DICOM_INGEST_")

    max_instance_bytes: int = 4 * 1024**3
    max_request_bytes: int = 8 * 1024**3
    max_parts: int = 5000
    scratch_dir: str = ""
    """Where requests are kept while they arrive; empty: the system's temporary folder."""
    dimse_host: str = "127.0.0.1"
    dimse_port: int = 0
    """0: no C-STORE SCP."""
    ae_title: str = "REGION"
    callers: str = ""
    """`AE@address=hospital`, comma-separated: who may send by C-STORE, and for which hospital."""
