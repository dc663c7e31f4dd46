"""`python -m imaging_native.documents <folder>`: a few documents of every collection, as this release writes them.

Taken at a release from a region that played the story (`REGION_STATE` names its file); the stores of later releases are
tested on them (`tests/integration/test_old_documents.py`). All of it is synthetic; what is secret is struck out.
"""

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

from bson import json_util
from pymongo import MongoClient

SHAPES = 4
"""So many documents of a collection at most, no two with the same fields."""
SECRET = re.compile(r"token|secret|seal|password|verifier|nonce|cookie|csrf", re.IGNORECASE)
LONGEST_BYTES = 2_000


def shapes(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Documents of different shapes, those with most fields first."""
    found: dict[frozenset[str], dict[str, Any]] = {}
    for document in sorted(documents, key=lambda one: -len(json_util.dumps(one))):
        found.setdefault(frozenset(_paths(document)), document)
    return sorted(found.values(), key=lambda one: -len(_paths(one)))[:SHAPES]


def _paths(value: Any, at: str = "") -> set[str]:
    if isinstance(value, dict):
        return {path for name, inner in value.items() for path in _paths(inner, f"{at}.{name}")}
    return {f"{at}:{type(value).__name__}"}


def without_secrets(value: Any, name: str = "") -> Any:
    """The same document; what could be secret, and long binaries, are struck out."""
    if isinstance(value, dict):
        return {key: without_secrets(inner, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [without_secrets(inner, name) for inner in value]
    secret = SECRET.search(name) is not None
    if isinstance(value, str) and secret:
        return "struck-out"
    return b"" if isinstance(value, bytes) and (secret or len(value) > LONGEST_BYTES) else value


def main(arguments: list[str]) -> int:
    """The command line; 2: no region named."""
    path = os.environ.get("REGION_STATE")
    if not path or len(arguments) != 1:
        print("documents needs REGION_STATE=<file of a running region> and a folder to write to")
        return 2
    state = json.loads(Path(path).read_text())
    folder = Path(arguments[0])
    folder.mkdir(parents=True, exist_ok=True)
    with MongoClient[dict[str, Any]](state["mongo"]["url"], tz_aware=True, timeoutMS=60_000) as client:
        for database in sorted(set(client.list_database_names()) - {"admin", "config", "local"}):
            taken = {
                name: [without_secrets(one) for one in shapes(list(client[database][name].find().limit(2_000)))]
                for name in sorted(client[database].list_collection_names())
            }
            text = json_util.dumps({name: found for name, found in taken.items() if found}, indent=1)
            (folder / f"{database}.json").write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
