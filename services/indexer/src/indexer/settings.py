"""The indexer's settings."""

from pydantic_settings import SettingsConfigDict

from imaging_common.settings import ServiceSettings


class IndexerSettings(ServiceSettings):
    """Environment prefix `INDEXER_`."""

    model_config = SettingsConfigDict(env_prefix="INDEXER_")

    database: str = "index"
    epoch: int = 1
    """Raised by the operator when the index is rebuilt from nothing: versions of the old one stay older."""
    quiet_seconds: float = 60.0
    """A study without an edge agent is settled when no instance came for so long."""
    quiet_poll_seconds: float = 1.0
    sweep_seconds: float = 30.0
    """Pause between two looks at the staged manifests that no event told of."""
    archive_sweep_seconds: float = 300.0
