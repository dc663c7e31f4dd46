"""Ends the process groups of a program that died without ending them; runs as a small process of its own.

Lines on its standard input: `+<pgid>` watches a group, `-<pgid>` forgets it, `/<path>` names a folder to remove. When
the input ends, which the kernel sees to however the program died, groups that are still watched get SIGKILL.
"""

import atexit
import contextlib
import functools
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO


class Guard:
    """The program's end of the line."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            start_new_session=True,
        )
        atexit.register(self._close)

    def watch(self, pgid: int) -> None:
        """SIGKILL this group when the program ends."""
        self._tell(f"+{pgid}")

    def forget(self, pgid: int) -> None:
        """The group was ended."""
        self._tell(f"-{pgid}")

    def remove(self, folder: Path) -> None:
        """Remove this folder when the program ends."""
        self._tell(str(folder))

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # a guard that somebody killed: the region runs on without
            self._process.stdin.write(f"{line}\n".encode())

    def _close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)


@functools.cache
def guard() -> Guard:
    """The guard of this program, started when first asked for."""
    return Guard()


def keep(lines: IO[str]) -> None:
    """Read until the input ends, then end what is left."""
    groups: set[int] = set()
    folders: set[str] = set()
    for line in lines:
        sign, rest = line[0], line[1:].strip()
        if sign == "+":
            groups.add(int(rest))
        elif sign == "-":
            groups.discard(int(rest))
        else:
            folders.add(line.strip())
    for group in groups:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    keep(sys.stdin)
