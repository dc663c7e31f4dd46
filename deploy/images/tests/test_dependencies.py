"""An image holds what its members declare: so they declare what they import, and all of it is pinned."""

import ast
import importlib.util
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
SERVICES = sorted(path.name for path in (ROOT / "services").iterdir())
IMAGES = {name: ["libs/common", f"services/{name}"] for name in SERVICES} | {
    "operate": ["libs/common", "deploy/operate"],
    "story": ["libs/common", "deploy/operate", "deploy/native"],
}
FOR_DEVELOPMENT = {"docker", "psutil", "testcontainers"}
"""What `imaging_native` imports only where servers run in containers or processes are measured: not in the story."""
DISTRIBUTIONS = packages_distributions()


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=~! ]", name)[0]).lower()


def needed(kind: str, members: list[str]) -> list[str]:
    script = ROOT / "deploy" / "images" / "dependencies.py"
    done = subprocess.run(
        [sys.executable, str(script), kind, *members], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30
    )
    return done.stdout.splitlines()


def imports(folder: Path) -> dict[str, str]:
    """Top-level package of others → a file that imports it."""
    found: dict[str, str] = {}
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
                if node.module == "fastapi" and any(alias.name == "Form" for alias in node.names):
                    names.append("python_multipart")  # FastAPI imports it where a route takes a form
            for name in names:
                found.setdefault(name.split(".")[0], str(path.relative_to(ROOT)))
    return {name: path for name, path in found.items() if name not in sys.stdlib_module_names}


@pytest.mark.parametrize("image", sorted(IMAGES))
def test_what_is_imported_is_declared(image: str) -> None:
    own = {tomllib.loads((ROOT / member / "pyproject.toml").read_text())["project"]["name"] for member in IMAGES[image]}
    declared = own | {canonical(one) for one in needed("python", IMAGES[image])}
    if image == "story":
        declared |= FOR_DEVELOPMENT
    if "imagecodecs" not in declared:
        declared |= {"imagecodecs", "numpy"}  # of imaging-common[pixels]: whoever rebuilds packs names the extra
    missing = {
        name: path
        for member in IMAGES[image]
        for name, path in imports(ROOT / member / "src").items()
        if not {canonical(one) for one in DISTRIBUTIONS.get(name, [name])} & declared
    }
    assert missing == {}


@pytest.mark.parametrize("image", ["gateway", "object-writer"])
def test_who_rebuilds_packs_has_the_codecs(image: str) -> None:
    assert {"imagecodecs", "numpy"} <= set(needed("python", IMAGES[image]))


def test_all_of_it_is_pinned() -> None:
    pins = {canonical(line) for line in (ROOT / "requirements.txt").read_text().splitlines() if "==" in line}
    for members in IMAGES.values():
        assert {canonical(one) for one in needed("python", members)} - pins == set()


def test_fonts_and_libraries_of_the_reports_come_with_the_consult_service_alone() -> None:
    assert "libpango-1.0-0" in needed("debian", IMAGES["consult"])
    assert needed("debian", IMAGES["gateway"]) == []


def test_member_that_is_left_out_is_named() -> None:
    path = ROOT / "deploy" / "images" / "dependencies.py"
    specification = importlib.util.spec_from_file_location("dependencies", path)
    assert specification is not None
    assert specification.loader is not None
    module: Any = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    with pytest.raises(SystemExit, match=r"imaging-gateway needs imaging-common: name that member, too"):
        module.main("python", [str(ROOT / "services" / "gateway")])
