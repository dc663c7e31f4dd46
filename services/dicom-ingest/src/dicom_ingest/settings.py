"""Settings of the ingest, from the environment with the prefix `DICOM_INGEST_`."""

from pydantic_settings import SettingsConfigDict

from imaging_common.settings import ServiceSettings


class Settings(ServiceSettings):
    """The centre's door for DICOM."""

    model_config = SettingsConfigDict(env_prefix="DICOM_INGEST_")

    max_instance_bytes: int = 4 * 1024**3
    max_request_bytes: int = 64 * 1024**3
    max_parts: int = 20_000
    batch_bytes: int = 64 * 1024**2
    """A request is staged in batches of about so many bytes; a larger instance makes a batch of its own size."""
    batch_instances: int = 500
    memory_bytes: int = 8 * 1024**2
    """Of a request's batch that is kept in memory; a larger one lies in `scratch_dir` while it arrives."""
    max_catalogue_bytes: int = 64 * 1024**2
    """Of a catalogue as it is sent, compressed."""
    max_report_bytes: int = 32 * 1024**2
    scratch_dir: str = ""
    """Where instances are kept while they arrive; empty: the system's temporary folder."""
    dicomweb_url: str = ""
    """Root under which what was stored can be retrieved (`https://portal.example/dicomweb`), for Retrieve URL
    (0008,1190); empty: the attribute has no value."""
    dimse_host: str = "127.0.0.1"
    dimse_port: int = 0
    """0: no C-STORE SCP."""
    dimse_tls: bool = False
    """The SCP speaks TLS alone (PS3.15 B.12): a caller's certificate names its AE title and the hospital that
    `callers` has for it."""
    dimse_associations: int = 64
    dimse_scratch_bytes: int = 8 * 1024**3
    """Bytes of instances that arrive by C-STORE and are not staged yet; beyond, 0xA700."""
    ae_title: str = "REGION"
    callers: str = ""
    """`AE=hospital` or `AE@address=hospital`, comma-separated: who may send by C-STORE, and for which hospital."""
