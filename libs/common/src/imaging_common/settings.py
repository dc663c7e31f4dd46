"""The settings that every service has; each service derives its own class with its environment prefix."""

import os
from pathlib import Path
from typing import Literal

from pydantic import SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SecretsSettingsSource

SECRETS_VARIABLE, SECRETS_FOLDER = "IMAGING_SECRETS", "/run/secrets"


class SecretFiles(BaseSettings):
    """Settings that may also lie as files, one for each, named as its variable in lower case.

    They are in the folder that `IMAGING_SECRETS` names, else in `/run/secrets` (where Docker and the Helm charts mount
    them). The environment wins.
    """

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """See pydantic-settings."""
        folder = Path(os.environ.get(SECRETS_VARIABLE, SECRETS_FOLDER))
        files = (SecretsSettingsSource(settings_cls, secrets_dir=folder),) if folder.is_dir() else ()
        return (init_settings, env_settings, *files)


class ServiceSettings(SecretFiles):
    """Read from the environment with the service's name as prefix (`INDEXER_KAFKA_BOOTSTRAP`), and from files."""

    http_host: str = "127.0.0.1"
    http_port: int = 8080
    kafka_bootstrap: str = "127.0.0.1:9092"
    kafka_username: str = ""
    """Empty: no SASL (unit tests only)."""
    kafka_password: SecretStr = SecretStr("")
    kafka_mechanism: Literal["SCRAM-SHA-512", "PLAIN"] = "SCRAM-SHA-512"
    """`PLAIN` for an administrator who is no SCRAM user."""
    kafka_tls: bool = False
    """Kafka is reached over TLS: outside the centre's own network it must be."""
    kafka_ca: str = ""
    """Whose certificates Kafka may have (PEM file); empty: the system's."""
    mongo_url: str = "mongodb://127.0.0.1:27017"
    minio_endpoint: str = "127.0.0.1:9000"
    minio_access_key: str = ""
    minio_secret_key: SecretStr = SecretStr("")
    minio_secure: bool = False
    oidc_issuer: str = ""
    """Issuer of the tokens that are accepted, e.g. `https://id.example/realms/region`."""
    oidc_audience: str = "imaging-cloud"
    oidc_user_claim: str = "preferred_username"
    """Names of the provider's claims; a dotted path leads into objects (`realm_access.roles`)."""
    oidc_roles_claim: str = "roles"
    oidc_hospital_claim: str = "hospital"
    tls_port: int = 0
    """A second port that speaks TLS and asks for client certificates: for edge agents; 0: none."""
    tls_cert: str = ""
    """The own certificate with its chain (PEM), its key, and the CA that peers must be of; read again when they
    change."""
    tls_key: str = ""
    tls_ca: str = ""
    client_cert_header: str = ""
    """Where a proxy ends TLS: the header in which it, and nobody else, passes the client's certificate; empty: none is
    believed."""
    otlp_endpoint: str = ""
    """OTLP/HTTP base address, e.g. `http://collector:4318`; empty: traces are not exported."""
    log_level: str = "INFO"
