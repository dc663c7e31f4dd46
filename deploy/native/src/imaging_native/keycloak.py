"""Keycloak as a local process, with the region's realm."""

import secrets
from pathlib import Path
from string import Template

import httpx

from imaging_native.fetch import Installed
from imaging_native.ports import free_port
from imaging_native.process import LocalProcess, StartFailed, http_ready

REALM_FILE = Path(__file__).parents[3] / "keycloak" / "realm.json"


class Keycloak:
    """Keycloak with the realm of `deploy/keycloak/realm.json`, in memory."""

    def __init__(self, installed: Installed, folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.issuer = f"{self.url}/realms/region"
        self._admin_password = secrets.token_urlsafe(18)
        self.process = LocalProcess(
            "keycloak",
            [str(installed.keycloak / "bin" / "kc.sh"), "start-dev"],
            {
                "KC_DB": "dev-mem",
                "KC_CACHE": "local",
                "KC_HTTP_HOST": "127.0.0.1",
                "KC_HTTP_PORT": str(self.port),
                "KC_BOOTSTRAP_ADMIN_USERNAME": "admin",
                "KC_BOOTSTRAP_ADMIN_PASSWORD": self._admin_password,
                "JAVA_OPTS_APPEND": "-Xmx512m -XX:TieredStopAtLevel=1",
            },
            folder,
            http_ready(f"{self.url}/realms/master"),
        )

    async def start(self, variables: dict[str, str]) -> None:
        """Start, and create the realm; `variables` fill its `${…}` places."""
        await self.process.start()
        await self.create_realm(variables)

    async def create_realm(self, variables: dict[str, str]) -> None:
        """Create the realm by the admin API."""
        realm = Template(REALM_FILE.read_text()).substitute(variables)
        async with httpx.AsyncClient(base_url=self.url, timeout=60) as client:
            token = await client.post(
                "/realms/master/protocol/openid-connect/token",
                data={
                    "grant_type": "password",
                    "client_id": "admin-cli",
                    "username": "admin",
                    "password": self._admin_password,
                },
            )
            token.raise_for_status()
            answer = await client.post(
                "/admin/realms",
                content=realm,
                headers={
                    "Authorization": f"Bearer {token.json()['access_token']}",
                    "Content-Type": "application/json",
                },
            )
            if answer.status_code != 201:
                raise StartFailed(f"Keycloak refused the realm: {answer.status_code} {answer.text[:500]}")
