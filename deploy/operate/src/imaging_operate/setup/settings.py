"""Settings of `region setup`, from the environment with the prefix `SETUP_` and from files."""

from pathlib import Path
from typing import Literal

from pydantic import SecretStr
from pydantic_settings import SettingsConfigDict

from imaging_common.ids import HospitalId
from imaging_common.settings import SecretFiles
from imaging_operate.setup.realm import OPERATOR
from imaging_operate.topology import KAFKA_ADMIN, TOPICS_FOLDER


class SetupSettings(SecretFiles):
    """A server without an address is not set up: somebody else does."""

    model_config = SettingsConfigDict(env_prefix="SETUP_")

    hospitals: list[HospitalId] = []
    """JSON; later ones are made by the portal's onboarding pages."""
    organisations: list[HospitalId] = []
    """JSON; whose EHRs have a topic and a client."""
    wait_seconds: float = 180.0
    """So long a server that does not answer yet is waited for."""

    kafka_bootstrap: str = ""
    kafka_username: str = KAFKA_ADMIN
    kafka_password: SecretStr = SecretStr("")
    kafka_mechanism: Literal["PLAIN", "SCRAM-SHA-512"] = "PLAIN"
    kafka_tls: bool = False
    kafka_ca: str = ""
    """Whose certificates Kafka may have (PEM file); empty: the system's."""
    kafka_replication: int = 3
    """Of topics; one replica may be away."""
    kafka_users: dict[str, SecretStr] = {}
    """JSON, principal → password; empty: users are made elsewhere, e.g. by Strimzi's `KafkaUser`."""
    topics_dir: Path = TOPICS_FOLDER

    mongo_url: SecretStr = SecretStr("")
    """With an administrator's rights."""
    mongo_replica_set: str = ""
    """`name/host:port`: a set of one member is initiated there; empty: it exists."""
    mongo_users: dict[str, SecretStr] = {}
    """JSON, service → password; empty: users are made elsewhere."""

    minio_endpoint: str = ""
    minio_access_key: str = ""
    minio_secret_key: SecretStr = SecretStr("")
    minio_secure: bool = False
    minio_users: dict[str, tuple[str, SecretStr]] = {}
    """JSON, service → access key and secret key; empty: users are made elsewhere (no MinIO, but another S3 store)."""

    keycloak_url: str = ""
    keycloak_username: str = "admin"
    keycloak_password: SecretStr = SecretStr("")
    realm_variables: dict[str, SecretStr] = {}
    """JSON: `PORTAL_CLIENT_SECRET` …, one for each client, and the passwords of the people that are to exist."""
    portal_url: str = ""
    mail_host: str = ""
    """From where Keycloak sends the invitations of outside experts; empty: it sends none."""
    mail_port: int = 25

    def variables(self) -> dict[str, str]:
        """What fills the realm."""
        secret = {name: value.get_secret_value() for name, value in self.realm_variables.items()}
        plain = {
            "PORTAL_URL": self.portal_url.rstrip("/"),
            "MAIL_HOST": self.mail_host,
            "MAIL_PORT": f"{self.mail_port}",
        }
        return {OPERATOR: "", **secret, **plain}
