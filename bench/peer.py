"""Debian's Orthanc with its DICOMweb plugin as a local process: the peer of every figure."""

import asyncio
import json
import shutil
import signal
import socket
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

PLUGIN = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"


def free_port() -> int:
    """A TCP port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Orthanc:
    """Starts on entering, ends on leaving; storage in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.dimse_port, self.http_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.http_port}"
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        settings = {
            "Name": "peer",
            "StorageDirectory": str(self._folder),
            "IndexDirectory": str(self._folder),
            "DicomAet": "PEER",
            "DicomPort": self.dimse_port,
            "HttpPort": self.http_port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomCheckCalledAet": False,
            "Plugins": [PLUGIN],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        }
        path = self._folder / "orthanc.json"
        path.write_text(json.dumps(settings))
        program = shutil.which("Orthanc") or "/usr/sbin/Orthanc"
        self._process = await asyncio.create_subprocess_exec(
            program, str(path), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
        async with asyncio.timeout(60), httpx.AsyncClient() as client:
            while True:
                try:
                    if (await client.get(f"{self.url}/system")).status_code == 200:
                        return self
                except httpx.TransportError:
                    await asyncio.sleep(0.1)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(self._process.wait(), 20)
            except TimeoutError:
                self._process.kill()

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None, "it does not run"
        return self._process.pid

    async def count(self) -> int:
        """Instances it has."""
        async with httpx.AsyncClient(timeout=30) as client:
            return int((await client.get(f"{self.url}/statistics")).json()["CountInstances"])
