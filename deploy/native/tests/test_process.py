"""Processes end with the program that started them, their children too; ports stay theirs."""

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import psutil
import pytest

from imaging_common.testing.waiting import until
from imaging_native.keycloak import start_once
from imaging_native.ports import HIGHEST, LOWEST, free_port, release
from imaging_native.process import LocalProcess, StartFailed

CHILD = "import subprocess; print('up', flush=True); subprocess.run(['sleep', '600'])"
PROGRAM = f"""
import asyncio, sys, threading
from pathlib import Path
from imaging_native.guard import guard
from imaging_native.process import LocalProcess

async def ready():
    assert process.log_tail()

folder = Path(sys.argv[1])
guard().remove(folder)
process = LocalProcess("child", [sys.executable, "-c", {CHILD!r}], {{}}, folder, ready)
asyncio.run(process.start())
print(process.pid, flush=True)
threading.Event().wait()
"""


async def ready() -> None:
    """As soon as it runs."""


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def test_children_of_children_end_when_the_program_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "region"
    folder.mkdir()
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM, str(folder)), stdout=asyncio.subprocess.PIPE
    )
    assert program.stdout is not None
    child = int(await program.stdout.readline())
    await until(lambda: bool(psutil.Process(child).children()), what="a child of the child")
    (grandchild,) = (process.pid for process in psutil.Process(child).children())
    os.kill(program.pid, signal.SIGKILL)
    await program.wait()
    await until(lambda: not alive(child) and not alive(grandchild), what="the end of both")
    await until(lambda: not folder.exists(), what="the end of the folder")


async def test_process_starts_again_when_it_was_killed(tmp_path: Path) -> None:
    process = LocalProcess("sleeper", ["sleep", "600"], {}, tmp_path, ready)
    await process.start()
    first = process.pid
    process.kill()
    assert process.pid is None
    await process.start()
    assert process.pid not in (None, first)
    await process.stop()
    assert process.pid is None


async def test_failed_start_shows_the_tail_of_the_log(tmp_path: Path) -> None:
    async def never() -> None:
        raise RuntimeError("not ready")

    process = LocalProcess("broken", ["sh", "-c", "echo why it failed; exit 3"], {}, tmp_path, never)
    with pytest.raises(StartFailed, match="why it failed"):
        await process.start()


def test_port_is_no_port_of_outgoing_connections_and_claimed_once() -> None:
    ports = [free_port() for _ in range(50)]
    assert len(set(ports)) == len(ports)
    assert all(LOWEST <= port < HIGHEST for port in ports)
    with socket.socket() as server:
        server.bind(("127.0.0.1", ports[0]))
    for port in ports:
        release(port)


def test_port_claim_is_seen_by_other_programs() -> None:
    port = free_port()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other, pytest.raises(OSError, match="in use"):
        other.bind(f"\0imaging-region-port-{port}")
    release(port)


def _keycloak(folder: Path, script: str) -> Path:
    (folder / "bin").mkdir()
    program = folder / "bin" / "kc.sh"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return folder


def test_first_start_ends_when_keycloak_listens(tmp_path: Path) -> None:
    home = _keycloak(tmp_path, f"echo $$ > {tmp_path}/pid; echo started. Listening on: $KC_HTTP_PORT; exec sleep 600")
    start_once(home)
    assert not alive(int((tmp_path / "pid").read_text()))


def test_first_start_fails_with_what_keycloak_said(tmp_path: Path) -> None:
    with pytest.raises(StartFailed, match="no memory"):
        start_once(_keycloak(tmp_path, "echo no memory; exit 1"))
