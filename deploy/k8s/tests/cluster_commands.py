"""kubectl and helm as the cluster test calls them: every call with a deadline, every failure with what was said."""

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

NAMESPACE = os.environ.get("CLUSTER_NAMESPACE", "imaging-test")
DEADLINE_SECONDS = 900
RELEASE = "region"
NAME = f"{RELEASE}-imaging-cloud"


class ClusterFailed(Exception):
    """A step did not come out as it should; the text says which command and what it answered."""


def program(name: str) -> str:
    """A program of `make charts-test`, or of the machine."""
    own = Path(os.environ.get("IMAGING_CACHE", "")) / "bin" / name
    found = str(own) if own.exists() else shutil.which(name)
    if not found:
        raise ClusterFailed(f"{name} is not installed: it is needed to reach a cluster")
    return found


def run(*command: str, given: str = "", seconds: float = DEADLINE_SECONDS) -> str:
    """What a command prints.

    Raises
    ------
    ClusterFailed
        It failed or took too long.
    """
    try:
        done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        raise ClusterFailed(f"{' '.join(command[:6])} took longer than {seconds:.0f} s") from None
    if done.returncode:
        said = (done.stderr or done.stdout)[-3000:]
        raise ClusterFailed(f"{' '.join(command[:6])} ended with {done.returncode}:\n{said}")
    return done.stdout


def kubectl(*arguments: str, given: str = "", seconds: float = DEADLINE_SECONDS) -> str:
    """`kubectl` in the test's namespace."""
    return run(program("kubectl"), "-n", NAMESPACE, *arguments, given=given, seconds=seconds)


def helm(*arguments: str, seconds: float = DEADLINE_SECONDS) -> str:
    """`helm` in the test's namespace."""
    return run(program("helm"), "-n", NAMESPACE, *arguments, seconds=seconds)


def apply(*manifests: Mapping[str, Any]) -> None:
    """Make or change objects."""
    kubectl("apply", "-f", "-", given=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(manifests)}))


def secret(name: str) -> dict[str, bytes]:
    """The data of a Secret."""
    data = json.loads(kubectl("get", "secret", name, "-o", "json"))["data"]
    return {key: base64.b64decode(value) for key, value in data.items()}


def until(condition: Callable[[], Any], what: str, seconds: float) -> Any:
    """Ask until something true comes; a command that fails counts as not yet."""
    deadline = time.monotonic() + seconds
    said = ""
    while time.monotonic() < deadline:
        try:
            if found := condition():
                return found
        except ClusterFailed as error:
            said = f" ({error})"
        time.sleep(1)
    raise ClusterFailed(f"waited {seconds:.0f} s for {what}{said}")


def phase(pod: str) -> str:
    """`Running`, `Succeeded`, `Failed` …"""
    return kubectl("get", "pod", pod, "-o", "jsonpath={.status.phase}")


def played(pod: Mapping[str, Any], seconds: float) -> str:
    """Let a pod do what it does; what it printed.

    Raises
    ------
    ClusterFailed
        It failed or took too long.
    """
    name = pod["metadata"]["name"]
    kubectl("delete", "pod", name, "--ignore-not-found")
    apply(pod)
    until(lambda: phase(name) in ("Succeeded", "Failed"), f"the end of {name}", seconds)
    said = kubectl("logs", name, "-c", name)
    if phase(name) != "Succeeded":
        raise ClusterFailed(f"{name} failed:\n{said[-2000:]}")
    return said


def region(*words: str, given: str = "") -> str:
    """`region …` as an operator calls it, in the pod that is there for it."""
    return kubectl("exec", "-i", f"deploy/{NAME}-operate", "--", "region", *words, given=given)
