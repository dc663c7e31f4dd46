"""Settings of the operators' pages; they are the gateway's (`GATEWAY_…`)."""

from pathlib import Path

from pydantic import SecretStr

from imaging_common.contracts.__main__ import SCHEMAS
from imaging_common.settings import ServiceSettings

REQUIRED = (
    "onboarding_kafka_username",
    "onboarding_client_id",
    "onboarding_ca_certificate",
    "onboarding_ca_key",
    "edge_kafka_bootstrap",
    "edge_ingest_url",
    "edge_gateway_url",
)
"""What onboarding cannot do without."""


class OperationsSettings(ServiceSettings):
    """Without its credentials a page says which setting is missing."""

    topics_dir: Path = SCHEMAS / "topics"
    """The topics' contracts (`schemas/topics`)."""
    operations_kafka_username: str = ""
    """Reads dead letters and writes them back to their source; empty: the page says so."""
    operations_kafka_password: SecretStr = SecretStr("")
    onboarding_kafka_username: str = ""
    """Makes topics, users and permissions for a new hospital."""
    onboarding_kafka_password: SecretStr = SecretStr("")
    onboarding_client_id: str = ""
    """A client of the identity provider that may manage clients and nothing else."""
    onboarding_client_secret: SecretStr = SecretStr("")
    onboarding_ca_certificate: Path | None = None
    """The region's authority, PEM; it signs the edge agents' certificates with `onboarding_ca_key`."""
    onboarding_ca_key: Path | None = None
    onboarding_certificate_days: int = 365
    onboarding_replication: int = 1
    """Replicas of a new hospital's topics; 3 outside the one-machine mode."""
    edge_kafka_bootstrap: str = ""
    """Kafka, as edge agents reach it."""
    edge_kafka_tls: bool = False
    """Edge agents reach it over TLS, with a certificate of the region's authority."""
    edge_ingest_url: str = ""
    """The ingest, as edge agents reach it."""
    edge_gateway_url: str = ""
    """The gateway, as edge agents reach it."""

    @property
    def missing_for_onboarding(self) -> list[str]:
        """The settings that onboarding lacks, as they stand in the environment."""
        prefix = str(self.model_config.get("env_prefix", ""))
        return [prefix + name.upper() for name in REQUIRED if not getattr(self, name)]

    @property
    def replay_connection(self) -> ServiceSettings | None:
        """Kafka with the operators' credentials; None: there are none."""
        if not self.operations_kafka_username:
            return None
        return ServiceSettings(
            kafka_bootstrap=self.kafka_bootstrap,
            kafka_username=self.operations_kafka_username,
            kafka_password=self.operations_kafka_password,
            kafka_tls=self.kafka_tls,
            kafka_ca=self.kafka_ca,
        )
