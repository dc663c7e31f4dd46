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
    cache_sweep_seconds: float = 300.0
    """Pause between two looks at the cached manifests and catalogues that no event told of."""
    instance_readers: int = 3
    """Readers of events about instances: a large batch of one study does not hold up another study's first image."""
    reports_poll_seconds: float = 1.0
    """Pause between two looks for DICOM documents that changed and for studies of the latest unmatched reports."""
