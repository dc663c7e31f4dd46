"""CPU time of processes and everything that they started: what an instance costs each service."""

from collections.abc import Mapping
from typing import Any

import psutil

EDGE = "edge-agent-"


def cpu_seconds(pid: int) -> float:
    """User and system seconds of a process, of its living descendants and of those that ended."""
    try:
        root = psutil.Process(pid)
        family = [root, *root.children(recursive=True)]
        return sum(sum(one.cpu_times()[:4]) for one in family)
    except psutil.NoSuchProcess:
        return 0.0


def taken(pids: Mapping[str, int | None]) -> dict[str, float]:
    """Process → CPU seconds so far; the edge agents together, as only one of them gets anything."""
    seconds: dict[str, float] = {}
    for name, pid in pids.items():
        if pid is not None:
            kind = "edge-agent" if name.startswith(EDGE) else name
            seconds[kind] = seconds.get(kind, 0.0) + cpu_seconds(pid)
    return seconds


def rows(before: Mapping[str, float], after: Mapping[str, float], peer: float, instances: int) -> list[dict[str, Any]]:
    """Lines of `results.json`: CPU milliseconds an instance, each beside what the peer took, and their sum."""
    spent = {name: 1000 * (after[name] - before.get(name, 0.0)) / instances for name in after}
    theirs = 1000 * peer / instances
    lines = [("region", sum(spent.values())), *sorted(spent.items(), key=lambda item: -item[1])]
    return [
        {
            "name": f"cpu-{name}",
            "ours": round(ours, 2),
            "peer": round(theirs, 2),
            "ratio": round(theirs / ours, 2),
            "unit": "ms",
            "better": "lower",
            "aim": None,
        }
        for name, ours in lines
        if ours >= 0.05
    ]
