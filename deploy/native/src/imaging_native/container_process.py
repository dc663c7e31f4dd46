"""A server in a container: started, killed and frozen like a local process, with the same ports inside and outside."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError, DockerException, NotFound
from docker.models.containers import Container
from testcontainers.core.container import DockerContainer
from testcontainers.core.exceptions import ContainerStartException

from imaging_native.process import LocalProcess, StartFailed

OWNER_LABEL = "imaging-cloud.owner"
"""`<host>:<process id>` of the program that started the container."""
STOP_SECONDS = 15
QUIET_SECONDS = 0.3


class ContainerProcess(LocalProcess):
    """What `LocalProcess` is for a command, for an image. A kill keeps the container and its data; a stop removes both.

    Parameters
    ----------
    image
        Its name; pulled when the engine does not have it.
    ports
        TCP ports it listens on; published on the loopback address under the same numbers.
    files
        Path in the container → content, put there before the first start (mode 0400, owner root).
    """

    def __init__(
        self,
        name: str,
        image: str,
        command: Sequence[str],
        env: Mapping[str, str],
        folder: Path,
        ready: Callable[[], Awaitable[None]],
        *,
        ports: Sequence[int],
        files: Mapping[str, bytes] | None = None,
    ) -> None:
        super().__init__(name, command, env, folder, ready)
        self._image = image
        self._ports = list(ports)
        self._files = dict(files or {})
        self._started: DockerContainer | None = None
        self.companions = AsyncExitStack()
        """What is to end with it."""

    @property
    def pid(self) -> int | None:
        """The process id of its first process, as the engine's machine counts; None while it does not run."""
        if self._started is None:
            return None
        self._container.reload()
        state: dict[str, Any] = self._container.attrs["State"]
        return int(state["Pid"]) if state["Running"] else None

    def launch(self) -> None:
        """Start without waiting until it is ready.

        Raises
        ------
        StartFailed
            No engine answers, the image cannot be had, or the engine refuses.
        """
        try:
            if self._started is None:
                self._started = self._make()
                self._started.start()
            else:
                self._container.start()
        except DockerException as error:
            raise StartFailed(
                f"the engine does not start {self.name} from the image {self._image} "
                f"(if it has no such image: name another by {self.name.upper()}_IMAGE): {error}"
            ) from error
        finally:
            self._forget_unmade()

    async def start(self) -> None:
        """Start, and wait until it is ready."""
        await asyncio.to_thread(self.launch)
        await self.wait_ready()

    async def stop(self) -> None:
        """SIGTERM, SIGKILL after a while; then the container and its data are removed, its log stays in the folder."""
        await self.companions.aclose()
        if self._started is not None:
            await asyncio.to_thread(self._remove)

    def kill(self) -> None:
        """SIGKILL, at once; returns when it has ended."""
        if self.pid is not None:
            self._container.kill()
            self._container.wait(timeout=STOP_SECONDS)

    def freeze(self) -> None:
        """All its processes stand still; it keeps its connections and says nothing."""
        self._container.pause()

    def thaw(self) -> None:
        """Its processes go on."""
        self._container.unpause()

    def log_tail(self, characters: int = 3000) -> str:
        """The end of its log."""
        if self._started is None:
            return super().log_tail(characters)
        text: str = self._container.logs(tail=200).decode(errors="replace")
        return text[-characters:]

    @property
    def _container(self) -> Container:
        assert self._started is not None
        return self._started.get_wrapped_container()

    def _make(self) -> DockerContainer:
        made = DockerContainer(self._image).with_command(self._command)
        made.with_envs(**self._env, **self.extra_env).with_kwargs(labels={OWNER_LABEL: _owner()})
        for port in self._ports:
            made.ports[str(port)] = ("127.0.0.1", port)  # type: ignore[assignment]  # docker-py takes it, and means it
        for path, content in self._files.items():
            made.with_copy_into_container(content, path, 0o400)
        return made

    def _forget_unmade(self) -> None:
        """Where the engine refused to make the container there is none to ask or to remove."""
        if self._started is not None:
            try:
                self._started.get_wrapped_container()
            except ContainerStartException:
                self._started = None

    def _remove(self) -> None:
        try:
            self._container.stop(timeout=STOP_SECONDS)
            self.log_path.write_bytes(self._container.logs())
        finally:
            assert self._started is not None
            self._started.stop()
            self._started = None


def check_engine() -> None:
    """See that an engine answers, and remove what programs left there that died before they could.

    Raises
    ------
    StartFailed
        No engine answers.
    """
    try:
        client = docker.from_env()
        client.ping()
    except DockerException as error:
        where = os.environ.get("DOCKER_HOST", "the default socket")
        raise StartFailed(
            f"BACKENDS=containers needs a Docker engine, and none answers at {where} (DOCKER_HOST): start one, "
            f"or leave BACKENDS out to use plain processes ({error})"
        ) from error
    try:
        for container in client.containers.list(all=True, filters={"label": OWNER_LABEL}):
            if _is_orphan(container.labels[OWNER_LABEL]):
                _remove_orphan(container)
    finally:
        client.close()


def bridge_address() -> str:
    """This machine's address on the engine's default network."""
    client = docker.from_env()
    try:
        address: str = client.networks.get("bridge").attrs["IPAM"]["Config"][0]["Gateway"]
        return address
    finally:
        client.close()


def _owner() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def _is_orphan(owner: str) -> bool:
    """Its program ran on this machine and has ended."""
    host, _, pid = owner.rpartition(":")
    return host == socket.gethostname() and not Path(f"/proc/{pid}").exists()


def _remove_orphan(container: Container) -> None:
    try:
        container.remove(force=True, v=True)
    except (NotFound, APIError):  # another run removes it
        return


def port_holds(port: int) -> Callable[[], Awaitable[None]]:
    """Ready when the port accepts a connection and keeps it open.

    The engine's own proxy accepts before the server in the container listens, and closes then. For servers that let
    their clients speak first.
    """

    async def check() -> None:
        reader, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), 2)
        try:
            await asyncio.wait_for(reader.read(1), QUIET_SECONDS)
        except TimeoutError:
            return
        finally:
            writer.close()
        raise RuntimeError(f"port {port} closes the connection")

    return check
