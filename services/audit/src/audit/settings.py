"""Settings of the audit service, from the environment with the prefix `AUDIT_`."""

from pydantic_settings import SettingsConfigDict

from imaging_common.settings import ServiceSettings


class AuditSettings(ServiceSettings):
    """The keeper of the audit record."""

    model_config = SettingsConfigDict(env_prefix="AUDIT_")

    database: str = "audit"
    anchor_bucket: str = "audit-anchors"
    """A bucket with object lock, in which the chains' heads are kept."""
    anchor_seconds: float = 3600.0
    """Between two anchors."""
    anchor_days: int = 3650
    """So long nobody, not even the store's administrator, can remove an anchor (S3 Object Lock, compliance mode)."""
