"""Settings of the EHR stand-in, from the environment with the prefix `EHR_`."""

from pydantic import SecretStr
from pydantic_settings import SettingsConfigDict

from imaging_common.settings import ServiceSettings


class EhrSettings(ServiceSettings):
    """Of those of every service it uses address, Kafka and issuer; `kafka_username` is the EHR's own principal."""

    model_config = SettingsConfigDict(env_prefix="EHR_")

    public_url: str = "http://localhost:8090"
    """Its own origin: another site than the portal's."""
    portal_url: str = "http://127.0.0.1:8080"
    """The portal, as browsers and this server reach it."""
    organisation: str = "residents"
    client_id: str = "ehr-residents"
    client_secret: SecretStr = SecretStr("")
    smart_client_id: str = "regional-portal"
    """Under which this EHR knows the portal as a SMART app; a public client with PKCE."""
    smart_launch_path: str = "/smart/launch"
    smart_callback_path: str = "/smart/callback"
    time_zone: str = "Asia/Shanghai"

    @property
    def fhir_base(self) -> str:
        """The `iss` of SMART launches."""
        return f"{self.public_url}/fhir"
