"""How operators reach a region's servers: environment `REGION_…`, files in `/run/secrets`, or a local region's file."""

import getpass
import json
import os
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pydantic_settings import SettingsConfigDict

from imaging_common.messaging.administration import Way
from imaging_common.settings import ServiceSettings

STATE_VARIABLE = "REGION_STATE"


class RegionSettings(ServiceSettings):
    """Environment prefix `REGION_`; the users are the servers' administrators."""

    model_config = SettingsConfigDict(env_prefix="REGION_")

    services: dict[str, str] = {}
    """Name → address of every process whose health `status` asks, e.g. `{"indexer": "http://indexer:8080"}`."""
    operator: str = ""
    """Who it is that the audit record names; empty: the user of this machine."""
    backup_recipients: str = ""
    """The public keys (`age1…,age1…`) that backups are encrypted for, or a file of them, one a line."""
    backup_identity: str = ""
    """File with the private key (age) that opens them: needed by `restore` and `backup verify --identity` only."""
    backup_s3_endpoint: str = ""
    """Where `s3://bucket/prefix` lies; another store than the region's own."""
    backup_s3_access_key: str = ""
    backup_s3_secret_key: SecretStr = SecretStr("")
    backup_s3_secure: bool = True

    @property
    def who(self) -> str:
        """The operator's name; in a container, whose user has none, `operate`."""
        try:
            return self.operator or getpass.getuser()
        except (KeyError, OSError):
            return "operate"

    @property
    def way(self) -> Way:
        """How Kafka's administrator reaches it."""
        return Way(mechanism=self.kafka_mechanism, tls=self.kafka_tls, ca=self.kafka_ca)


def load(state: Path | None = None) -> RegionSettings:
    """The settings; a file of a local region (`make run REGION_STATE=file`) takes the place of the servers' variables.

    Raises
    ------
    FileNotFoundError
        The file is not there.
    ValueError
        It is no region's file.
    """
    path = state or (Path(os.environ[STATE_VARIABLE]) if os.environ.get(STATE_VARIABLE) else None)
    if path is None:
        return RegionSettings()
    try:
        told = json.loads(path.read_text())
        return RegionSettings(**_of_state(told))
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not the file of a running region: {type(error).__name__} {error}") from error


def _of_state(state: dict[str, Any]) -> dict[str, Any]:
    edges = {f"edge-agent-{hospital}": edge["http"] for hospital, edge in state["edges"].items()}
    named = {"gateway": "portal", "dicom-ingest": "ingest"} | {s: s for s in ("consult", "notification", "audit")}
    services = state.get("services") or {name: state[key] for name, key in named.items()} | edges
    return {
        "kafka_bootstrap": state["kafka"]["bootstrap"],
        "kafka_username": "admin",
        "kafka_password": SecretStr(state["kafka"]["users"]["admin"]),
        "mongo_url": state["mongo"]["url"],
        "minio_endpoint": state["minio"]["endpoint"],
        "minio_access_key": state["minio"]["access_key"],
        "minio_secret_key": SecretStr(state["minio"]["secret_key"]),
        "services": services,
    }
