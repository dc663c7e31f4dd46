"""`dependencies.py python|debian MEMBER…`: what these members of the workspace need of others, a line each.

Read from their `pyproject.toml` by the standard library alone: this runs in the image that is being built, before
anything is installed.
"""

import re
import sys
import tomllib
from pathlib import Path

OWN = re.compile(r"^(imaging-[a-z-]+)(?:\[([a-z,]+)\])?$")
"""One of the workspace's members, with its extras."""


def python_packages(members: dict[str, dict[str, object]], project: dict[str, object]) -> list[str]:
    """The packages of others, those of the named members included."""
    found: list[str] = []
    pending = [str(one) for one in project["dependencies"]]  # type: ignore[attr-defined]
    while pending:
        one = pending.pop()
        own = OWN.match(one)
        if own is None:
            found.append(one)
        elif own[1] in members:
            extras = members[own[1]].get("optional-dependencies", {})
            pending += [name for extra in (own[2] or "").split(",") if extra for name in extras[extra]]  # type: ignore[index]
        else:
            raise SystemExit(f"{project['name']} needs {own[1]}: name that member, too")
    return found


def main(kind: str, folders: list[str]) -> None:
    """Print what these members need."""
    files = [tomllib.loads(Path(folder, "pyproject.toml").read_text("utf-8")) for folder in folders]
    members = {file["project"]["name"]: file["project"] for file in files}
    needed: set[str] = set()
    for file in files:
        if kind == "python":
            needed |= set(python_packages(members, file["project"]))
        else:
            needed |= set(file.get("tool", {}).get("imaging", {}).get("debian-packages", []))
    for one in sorted(needed):
        print(one)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
