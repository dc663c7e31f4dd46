"""Scratch folders of processes that were killed."""

import shutil
import tempfile
import time
from pathlib import Path


def remove_old(folder: str, prefix: str, seconds: float) -> int:
    """Remove what begins with `prefix` and was not touched for so long; how many. Blocking.

    Parameters
    ----------
    folder
        Empty: the system's temporary folder.
    """
    before = time.time() - seconds
    removed = 0
    for path in Path(folder or tempfile.gettempdir()).glob(f"{prefix}*"):
        if _touched_at(path) < before:
            shutil.rmtree(path, ignore_errors=True)
            removed += 1
    return removed


def _touched_at(path: Path) -> float:
    try:
        return max((entry.stat().st_mtime for entry in (path, *path.iterdir())), default=0.0)
    except OSError:  # it is being removed by its owner
        return time.time()
