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
    """A series is packed at once when so many bytes of it wait; a pack of that size is never rewritten."""
    seal_instances: int = 4000
    """At most so many instances make a pack."""
    seal_poll_seconds: float = 0.5
    grace_seconds: float = 24 * 3600.0
    """How long staged copies and replaced packs stay after the index points elsewhere."""
    sweep_seconds: float = 60.0
    """Pause between two looks at staging."""
    archive_sweep_seconds: float = 3600.0
    """Pause between two looks at the archive."""
    orphan_seconds: float = 6 * 3600.0
    """Data objects without a manifest, and scratch files, are removed after so long."""
    remind_seconds: float = 900.0
    """A pack that the index has not acknowledged for so long is announced again."""
    lease_seconds: float = 300.0
    cache_bytes: int = 200 * 1024**3
    """The cache tier's quota, for all hospitals together."""
    cache_high: float = 0.95
    """Share of the quota at which eviction begins: what is on its way still finds room."""
    cache_low: float = 0.85
    """Share of the quota at which it ends."""
    cache_in_use_seconds: float = 900.0
    """A study that was opened within this time is in use and is not evicted."""
    cache_arriving_seconds: float = 60.0
    """A study of which something came within this time is being retrieved and is not evicted."""
    cache_seconds: float = 5.0
    """Pause between two looks at the quota."""
    purge_seconds: float = 60.0
    """Pause between two looks for deleted studies whose retention is over."""
    usage_seconds: float = 600.0
    """Pause between two sums over what lies where (`StorageMeasured`)."""
    compressors: int = 1
    """Processes that compress, at low priority."""
    scratch_dir: str = ""
    """Where packs grow; empty: the system's temporary folder."""
