"""Settings of the audit service, from the environment with the prefix `AUDIT_`."""

from pydantic_settings import SettingsConfigDict

from imaging_common.settings import ServiceSettings


class AuditSettings(ServiceSettings):
    """The keeper of the audit record."""

    model_config = SettingsConfigDict(env_prefix="AUDIT_")

    database: str = "audit"
