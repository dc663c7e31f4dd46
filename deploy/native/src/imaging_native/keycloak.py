"""Keycloak as a local process, with the region's realm."""

import contextlib
import os
import secrets
import signal
import subprocess
import threading
from pathlib import Path
from string import Template

import httpx

from imaging_native.ports import free_port
from imaging_native.process import LocalProcess, StartFailed, http_ready

REALM_FILE = Path(__file__).parents[3] / "keycloak" / "realm.json"
BUILT_FOR = {"KC_DB": "dev-mem", "KC_CACHE": "local"}
"""Settings that Keycloak compiles into its installation when it first starts with them."""
JAVA_OPTIONS = "-Xmx512m -XX:TieredStopAtLevel=1"
FIRST_START_DEADLINE_SECONDS = 600


class Keycloak:
    """Keycloak with the realm of `deploy/keycloak/realm.json`, in memory."""

    def __init__(self, home: Path, folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.issuer = f"{self.url}/realms/region"
        self._admin_password = secrets.token_urlsafe(18)
        self.process = LocalProcess(
            "keycloak",
            [str(home / "bin" / "kc.sh"), "start-dev"],
            {
                **BUILT_FOR,
                "KC_HTTP_HOST": "127.0.0.1",
                "KC_HTTP_PORT": str(self.port),
                "KC_BOOTSTRAP_ADMIN_USERNAME": "admin",
                "KC_BOOTSTRAP_ADMIN_PASSWORD": self._admin_password,
                "JAVA_OPTS_APPEND": JAVA_OPTIONS,
            },
            folder,
            http_ready(f"{self.url}/realms/master"),
        )

    async def start(self, variables: dict[str, str]) -> None:
        """Start, and create the realm; `variables` fill its `${…}` places."""
        await self.process.start()
        await self.create_realm(variables)

    async def admin(self) -> httpx.AsyncClient:
        """A client of the admin API, signed in for a minute; the caller closes it."""
        client = httpx.AsyncClient(base_url=self.url, timeout=60)
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
        client.headers["Authorization"] = f"Bearer {token.json()['access_token']}"
        return client

    async def create_realm(self, variables: dict[str, str]) -> None:
        """Create the realm by the admin API."""
        realm = Template(REALM_FILE.read_text()).substitute(variables)
        async with contextlib.aclosing(await self.admin()) as client:
            answer = await client.post("/admin/realms", content=realm, headers={"Content-Type": "application/json"})
            if answer.status_code != 201:
                raise StartFailed(f"Keycloak refused the realm: {answer.status_code} {answer.text[:500]}")


def start_once(home: Path) -> None:
    """Start and end Keycloak, which then has built its installation; regions that share it only read it from there on.

    Raises
    ------
    StartFailed
        It ended by itself, or took too long.
    """
    port = str(free_port())
    process = subprocess.Popen(
        [str(home / "bin" / "kc.sh"), "start-dev"],
        env={
            **os.environ,
            **BUILT_FOR,
            "KC_HTTP_HOST": "127.0.0.1",
            "KC_HTTP_PORT": port,
            "JAVA_OPTS_APPEND": JAVA_OPTIONS,
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    deadline = threading.Timer(FIRST_START_DEADLINE_SECONDS, os.killpg, (process.pid, signal.SIGKILL))
    deadline.start()
    said: list[str] = []
    assert process.stdout is not None
    try:
        for line in process.stdout:
            said.append(line)
            if "Listening on:" in line:
                return
        raise StartFailed(f"keycloak ended while starting for the first time:\n{''.join(said)[-2000:]}")
    finally:
        deadline.cancel()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=30)
        process.stdout.close()
