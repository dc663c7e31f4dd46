"""`make deploy-test`: everything that needs more than plain processes; what cannot run here is named, never passed."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

PASSED, FAILED, SKIPPED = 0, 1, 3
"""Exit codes: all passed; something failed; nothing failed, but something was skipped."""
ASK_SECONDS = 30
Outcome = Literal["passed", "FAILED", "skipped"]


@dataclass(frozen=True, slots=True)
class Step:
    """A `make` target, and what it needs of the machine."""

    target: str
    shows: str
    missing: Callable[[], str]
    """Why it cannot run here; empty: it can."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a step."""

    step: Step
    outcome: Outcome
    seconds: float
    reason: str = ""


def nothing() -> str:
    """It runs everywhere."""
    return ""


def no_go() -> str:
    """Whether the Go tools that check charts and rules cannot be built."""
    return "" if shutil.which("go") else "no `go` in PATH to build helm, kubeconform and promtool with"


def no_engine() -> str:
    """Whether there is no container engine."""
    return "" if _answers("docker", "info") else "no container engine answers `docker info` (DOCKER_HOST?)"


def no_cluster() -> str:
    """Whether there is no cluster."""
    return "" if _answers("kubectl", "get", "nodes") else "no cluster answers `kubectl get nodes` (KUBECONFIG?)"


def no_outside() -> str:
    """Whether there is nothing outside of the cluster that it could use."""
    if not os.environ.get("EXTERNAL_ADDRESS"):
        return "no EXTERNAL_ADDRESS: the address of this machine that the cluster's pods reach"
    return no_engine() or no_cluster()


STEPS = (
    Step("rules-test", "alert rules fire when they should", no_go),
    Step("charts-test", "Helm charts render, hold the schemas and the policies", no_go),
    Step("restore-test", "a backup restored into an empty region", nothing),
    Step("images", "one image for every service", no_engine),
    Step("compose-test", "the story on Compose", no_engine),
    Step("containers-test", "integration tests on servers in containers", no_engine),
    Step("cluster-test", "both charts, the story as `helm test`, upgrade under load, backup and restore", no_cluster),
    Step("external-test", "the centre's chart on servers outside of the cluster", no_outside),
)


def run(steps: Sequence[Step], make: Callable[[str], int]) -> list[Result]:
    """Run every step that can run; a failed one does not keep the next from running."""
    results = []
    for step in steps:
        started = time.monotonic()
        if reason := step.missing():
            results.append(Result(step, "skipped", 0.0, reason))
            continue
        print(f"\n== make {step.target}: {step.shows}", flush=True)
        code = make(step.target)
        reason = "" if code == 0 else f"`make {step.target}` exited with {code}"
        results.append(Result(step, "FAILED" if code else "passed", time.monotonic() - started, reason))
    return results


def verdict(results: Sequence[Result]) -> tuple[str, int]:
    """The last line, and the exit code."""
    failed = [one.step.target for one in results if one.outcome == "FAILED"]
    skipped = [one.step.target for one in results if one.outcome == "skipped"]
    if failed:
        return f"DEPLOY FAIL {', '.join(failed)}", FAILED
    if skipped:
        return f"DEPLOY INCOMPLETE, not run: {', '.join(skipped)}", SKIPPED
    return "DEPLOY PASS", PASSED


def _make(target: str) -> int:
    return subprocess.run(["make", target], check=False).returncode


def _answers(*command: str) -> bool:
    if shutil.which(command[0]) is None:
        return False
    try:
        return subprocess.run(command, check=False, capture_output=True, timeout=ASK_SECONDS).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def main() -> int:
    """Runs all steps and prints what became of each."""
    results = run(STEPS, _make)
    print()
    for one in results:
        print(f"{one.outcome:8} {one.step.target:16} {one.seconds:7.0f} s  {one.reason or one.step.shows}")
    line, code = verdict(results)
    print(line, flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
