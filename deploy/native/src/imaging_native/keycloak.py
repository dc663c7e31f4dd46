"""Keycloak as a local process, with the region's realm."""

import os
import secrets
import signal
import subprocess
import threading
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import httpx

from imaging_native.ports import free_port
from imaging_native.process import LocalProcess, StartFailed, http_ready
from imaging_operate.setup.realm import REALM, admin_client, ensure_realm

BUILT_FOR = {"KC_DB": "dev-mem", "KC_CACHE": "local"}
"""Settings that Keycloak compiles into its installation when it first starts with them."""
JAVA_OPTIONS = "-Xmx512m -XX:TieredStopAtLevel=1"
FIRST_START_DEADLINE_SECONDS = 600


class Keycloak:
    """Keycloak with a realm, in memory."""

    def __init__(self, home: Path, folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.issuer = f"{self.url}/realms/{REALM}"
        self.admin_password = secrets.token_urlsafe(18)
        self.process = LocalProcess(
            "keycloak",
            [str(home / "bin" / "kc.sh"), "start-dev"],
            {
                **BUILT_FOR,
                "KC_HTTP_HOST": "127.0.0.1",
                "KC_HTTP_PORT": str(self.port),
                "KC_BOOTSTRAP_ADMIN_USERNAME": "admin",
                "KC_BOOTSTRAP_ADMIN_PASSWORD": self.admin_password,
                "JAVA_OPTS_APPEND": JAVA_OPTIONS,
            },
            folder,
            http_ready(f"{self.url}/realms/master"),
        )

    async def start(self, realm: dict[str, Any]) -> None:
        """Start, and make the realm."""
        await self.process.start()
        await ensure_realm(self.url, "admin", self.admin_password, realm)

    def admin(self) -> AbstractAsyncContextManager[httpx.AsyncClient]:
        """A client of the admin API, signed in for a minute."""
        return admin_client(self.url, "admin", self.admin_password)


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
