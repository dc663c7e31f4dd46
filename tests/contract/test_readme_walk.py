"""The README's walks name files and functions that exist."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| (?P<step>[^|]+) \| `(?P<file>[^`]+)` \| `(?P<function>[^`]+)` \|$")


def walk() -> list[tuple[str, str, str]]:
    text = (ROOT / "README.md").read_text()
    tables = [part.split("<!-- walk:end -->")[0] for part in text.split("<!-- walk:begin -->")[1:]]
    assert len(tables) == 4
    rows = [ROW.match(line) for table in tables for line in table.strip().splitlines()[2:]]
    assert all(rows), "a row of the walk is not `step | file | function`"
    return [(row["step"], row["file"], row["function"]) for row in rows if row]


def names(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, kinds)}


def test_walk_has_steps() -> None:
    assert len(walk()) >= 20


@pytest.mark.parametrize(("step", "file", "function"), walk())
def test_function_exists_when_the_walk_names_it(step: str, file: str, function: str) -> None:
    assert (ROOT / file).is_file(), f"{step}: {file} is not there"
    assert function in names(ROOT / file), f"{step}: {file} has no {function}"
