"""Settings of the object writer, from the environment with the prefix `OBJECT_WRITER_`."""

from pydantic_settings import SettingsConfigDict

from imaging_common.settings import ServiceSettings


class ObjectWriterSettings(ServiceSettings):
    """The store keeper."""

    model_config = SettingsConfigDict(env_prefix="OBJECT_WRITER_")

    database: str = "objects"
    seal_quiet_seconds: float = 20.0
    """A series is packed when none of its instances came for so long."""
    seal_bytes: int = 256 * 1024 * 1024
    """A series is packed at once when so many bytes of it wait."""
    seal_poll_seconds: float = 0.5
    grace_seconds: float = 24 * 3600.0
    """How long staged copies stay after the index points to the pack."""
    sweep_seconds: float = 60.0
    orphan_seconds: float = 3600.0
    """Data objects without a manifest are removed after so long."""
    lease_seconds: float = 300.0
    compressors: int = 1
    """Processes that compress, at low priority."""
