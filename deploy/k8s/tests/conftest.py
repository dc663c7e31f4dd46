"""Renders the charts with Helm for the tests of this folder. Run by `make charts-test`, not by `make unit`."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

K8S = Path(__file__).parents[1]
TESTS = Path(__file__).parent
KUBERNETES = "1.34.0"
EVALUATION = (K8S / "centre" / "values-evaluation.yaml", TESTS / "values-lab.yaml")
PRODUCTION = (TESTS / "values-production.yaml",)
EDGE = (TESTS / "values-edge.yaml",)
VARIANTS = {"evaluation": ("centre", EVALUATION), "production": ("centre", PRODUCTION), "edge": ("edge", EDGE)}

Manifest = dict[str, Any]
Render = Callable[..., list[Manifest]]


def program(name: str) -> str:
    """A program of `make charts-test`, or of the machine."""
    own = Path(os.environ["IMAGING_CACHE"]) / "bin" / name if "IMAGING_CACHE" in os.environ else Path(name)
    found = str(own) if own.exists() else shutil.which(name)
    assert found, f"{name} is not installed: call `make charts-test`"
    return found


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Helm's answer, whatever it is."""
    return subprocess.run([program("helm"), *arguments], capture_output=True, text=True, timeout=120, check=False)


def template(chart: str, values: tuple[Path, ...], *arguments: str) -> subprocess.CompletedProcess[str]:
    """`helm template` of a chart."""
    files = [word for file in values for word in ("-f", str(file))]
    return helm("template", "test", str(K8S / chart), "--kube-version", KUBERNETES, "-n", "imaging", *files, *arguments)


@pytest.fixture(scope="session")
def render() -> Render:
    """`render(chart, values, *arguments)`: the manifests."""

    def act(chart: str, values: tuple[Path, ...], *arguments: str) -> list[Manifest]:
        done = template(chart, values, *arguments)
        assert done.returncode == 0, done.stderr
        return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]

    return act


@pytest.fixture(scope="session", params=list(VARIANTS))
def manifests(request: pytest.FixtureRequest, render: Render) -> list[Manifest]:
    """The manifests of each variant."""
    return render(*VARIANTS[request.param])


@pytest.fixture(scope="session")
def evaluation(render: Render) -> list[Manifest]:
    """A region to try."""
    return render(*VARIANTS["evaluation"])


@pytest.fixture(scope="session")
def production(render: Render) -> list[Manifest]:
    """A region with external servers."""
    return render(*VARIANTS["production"])


@pytest.fixture(scope="session")
def edge(render: Render) -> list[Manifest]:
    """A hospital's edge agent."""
    return render(*VARIANTS["edge"])
