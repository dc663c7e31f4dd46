"""Settings of the consult service, from the environment with the prefix `CONSULT_`."""

from pydantic_settings import SettingsConfigDict

from imaging_common.settings import ServiceSettings


class ConsultSettings(ServiceSettings):
    """The consultation workflow."""

    model_config = SettingsConfigDict(env_prefix="CONSULT_")

    database: str = "consult"
