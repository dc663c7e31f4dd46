"""The network between the hospitals' edge agents and the centre, as toxiproxy: it can be cut and restored."""

from collections.abc import Mapping
from pathlib import Path

import httpx

from imaging_native.fetch import Installed
from imaging_native.ports import free_port
from imaging_native.process import LocalProcess, port_ready


class EdgeLink:
    """One proxy per door of the centre that edge agents come to (Kafka, ingest, gateway)."""

    DOORS = ("kafka", "dicom-ingest", "gateway")

    def __init__(self, installed: Installed, folder: Path) -> None:
        self.ports = {door: free_port() for door in self.DOORS}
        self._control = free_port()
        self.process = LocalProcess(
            "edge-link",
            [str(installed.toxiproxy), "-host", "127.0.0.1", "-port", str(self._control)],
            {"LOG_LEVEL": "error"},
            folder,
            port_ready(self._control),
        )

    async def start(self, targets: Mapping[str, int]) -> None:
        """Start, and lead each door to its port."""
        await self.process.start()
        async with self._client() as client:
            for door, port in targets.items():
                proxy = {
                    "name": door,
                    "listen": f"127.0.0.1:{self.ports[door]}",
                    "upstream": f"127.0.0.1:{port}",
                    "enabled": True,
                }
                (await client.post("/proxies", json=proxy)).raise_for_status()

    async def cut(self) -> None:
        """Close every connection and refuse new ones."""
        await self._set(enabled=False)

    async def restore(self) -> None:
        """Let them through again."""
        await self._set(enabled=True)

    async def _set(self, *, enabled: bool) -> None:
        async with self._client() as client:
            for door in self.DOORS:
                (await client.post(f"/proxies/{door}", json={"enabled": enabled})).raise_for_status()

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=f"http://127.0.0.1:{self._control}", timeout=10)
