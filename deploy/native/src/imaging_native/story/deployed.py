"""Where a deployed region (Compose, Helm) is reached, and what its people and its EHR sign in with, for the story."""

import time
from pathlib import Path
from typing import Any

from pydantic_settings import BaseSettings, SettingsConfigDict

EHR = "ehr-residents"
HOSPITALS = ("community", "secondary", "tertiary", "tcm")
PACS = ("tertiary", "tcm")


class DeployedRegion(BaseSettings):
    """From the environment with the prefix `STORY_`; the defaults are those of `deploy/compose`.

    In the folder `secrets` lie `people/<user>` (a password each) and `ehr-residents/` (`ehr_client_secret`,
    `ehr_kafka_password`), as `region secrets` makes them.
    """

    model_config = SettingsConfigDict(env_prefix="STORY_")

    portal_url: str = "http://portal.localhost:8080"
    keycloak_url: str = "http://id.localhost:8180"
    ehr_url: str = "http://ehr.localhost:8090"
    kafka_bootstrap: str = "kafka:9094"
    kafka_ca: str = ""
    """Whose certificates Kafka may have (PEM file); empty: it is reached without TLS."""
    edge_host: str = "edge-agent-{hospital}"
    edge_http_port: int = 8080
    edge_dimse_port: int = 11112
    pacs_host: str = "pacs-{hospital}"
    pacs_dimse_port: int = 4242
    secrets: Path = Path("/run/secrets")
    browser_hosts: dict[str, str] = {}
    """JSON: names that the browser is to find at other machines."""
    secure_origins: str = ""
    """Comma-separated addresses without TLS that the browser takes as if they had it: their cookies are `Secure`."""
    slices: int = 120
    seed: int = 0
    """Of the images; 0: the time, so that each story has studies of its own."""
    pictures: str = ""
    """Folder for screenshots; empty: none."""

    def state(self) -> dict[str, Any]:
        """What `imaging_native.story.play` needs.

        Raises
        ------
        OSError
            A secret is missing.
        """
        portal = self.portal_url.rstrip("/")
        return {
            "portal": portal,
            "gateways": [portal],
            "keycloak": self.keycloak_url,
            "issuer": f"{self.keycloak_url}/realms/region",
            "kafka": {
                "bootstrap": self.kafka_bootstrap,
                "ca": self.kafka_ca,
                "users": {EHR: self._secret(EHR, "ehr_kafka_password")},
            },
            "users": {path.name: {"password": path.read_text("utf-8")} for path in self._people()},
            "edges": {hospital: self._edge(hospital) for hospital in HOSPITALS},
            "pacs": {hospital: self._pacs(hospital) for hospital in PACS},
            "ehr": {
                "client_id": EHR,
                "client_secret": self._secret(EHR, "ehr_client_secret"),
                "url": self.ehr_url,
            },
            "browser_hosts": self.browser_hosts,
            "secure_origins": self.secure_origins,
            "seed": self.seed or int(time.time()),
        }

    def _people(self) -> list[Path]:
        return [path for path in sorted((self.secrets / "people").iterdir()) if path.is_file()]

    def _secret(self, place: str, name: str) -> str:
        return (self.secrets / place / name).read_text("utf-8")

    def _edge(self, hospital: str) -> dict[str, Any]:
        host = self.edge_host.format(hospital=hospital)
        return {
            "ae_title": hospital.upper(),
            "host": host,
            "dimse_port": self.edge_dimse_port,
            "http": f"http://{host}:{self.edge_http_port}",
        }

    def _pacs(self, hospital: str) -> dict[str, Any]:
        host = self.pacs_host.format(hospital=hospital)
        return {
            "ae_title": f"{hospital.upper()}_PACS",
            "host": host,
            "dimse_port": self.pacs_dimse_port,
            "dicomweb": f"http://{host}:8042/dicom-web" if hospital == "tertiary" else "",
        }
