"""`python -m imaging_common.contracts export | check | baseline [--accept-breaking]`.

`export` writes `schemas/`, `check` fails when it is stale, `baseline` takes the present schemas, examples and topics as
what is in use, which is done at a release: changes that break old readers or writers are refused unless they are
accepted by name of that option.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from imaging_common.contracts.baseline import take_baseline
from imaging_common.contracts.schemas import render_all

ROOT = Path(__file__).parents[5]
SCHEMAS = ROOT / "schemas"
BASELINE = ROOT / "tests" / "contract" / "baseline"


def export(folder: Path) -> int:
    """Write what the models say; delete what no model stands behind. Return how many files changed."""
    wanted = {folder / name: text for name, text in render_all(folder / "topics").items()}
    generated = {path for part in ("events", "examples", "asyncapi") for path in (folder / part).rglob("*.*")}
    orphans = generated - set(wanted)
    for orphan in orphans:
        orphan.unlink()
    changed = {path: text for path, text in wanted.items() if not path.exists() or path.read_text() != text}
    for path, text in changed.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for empty in [path for path in (folder / "events").glob("*") if path.is_dir() and not any(path.iterdir())]:
        empty.rmdir()
    return len(changed) + len(orphans)


def stale_files(folder: Path) -> list[str]:
    """Generated files that differ from what the models say, or that no model stands behind."""
    wanted = render_all(folder / "topics")
    there = {
        str(path.relative_to(folder))
        for part in ("events", "examples", "asyncapi")
        for path in (folder / part).rglob("*")
        if path.is_file()
    }
    changed = {name for name, text in wanted.items() if name in there and (folder / name).read_text() != text}
    return sorted(changed | (there ^ set(wanted)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="contracts", description=__doc__)
    parser.add_argument("command", choices=["export", "check", "baseline"])
    parser.add_argument("--accept-breaking", action="store_true")
    options = parser.parse_args(arguments)
    if options.command == "export":
        print(f"{export(SCHEMAS)} files changed")
        return 0
    stale = options.command == "check"
    problems = stale_files(SCHEMAS) if stale else take_baseline(BASELINE, SCHEMAS, options.accept_breaking)
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
