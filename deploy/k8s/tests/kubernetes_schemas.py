"""`python kubernetes_schemas.py FOLDER VERSION…`: JSON Schemas for kubeconform, one file a kind.

They are made from `api/openapi-spec/swagger.json` of Kubernetes' own Go module: no registry of schemas is asked.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

GROUPS = "x-kubernetes-group-version-kind"
INT_OR_STRING = {"oneOf": [{"type": "string"}, {"type": "integer"}]}
REPLACED = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": INT_OR_STRING,
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"oneOf": [{"type": "string"}, {"type": "number"}]},
}


def main(folder: Path, versions: list[str]) -> None:
    """Write what is missing."""
    for version in versions:
        target = folder / f"v{version}"
        if target.exists():
            continue
        swagger = json.loads((_module(version) / "api" / "openapi-spec" / "swagger.json").read_text())
        kinds = write(swagger["definitions"], target)
        print(f"Kubernetes {version}: schemas of {kinds} kinds")


def write(definitions: dict[str, Any], target: Path) -> int:
    """A file for each kind that has one group and version of its own; how many."""
    strict = {name: REPLACED.get(name) or _strict(schema) for name, schema in definitions.items()}
    target.mkdir(parents=True)
    (target / "definitions.json").write_text(json.dumps({"definitions": strict}))
    stable = sorted(definitions, key=lambda name: ("alpha" in name) + ("beta" in name), reverse=True)
    kinds = {one["kind"].lower(): name for name in stable for one in definitions[name].get(GROUPS, [])}
    for kind, name in kinds.items():
        (target / f"{kind}.json").write_text(json.dumps({"$ref": f"definitions.json#/definitions/{name}"}))
    return len(kinds)


def _strict(schema: Any) -> Any:
    """Unknown properties are refused, and what may be null stays so."""
    if isinstance(schema, list):
        return [_strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    new = {key: _strict(value) for key, value in schema.items()}
    if isinstance(new.get("properties"), dict) and "additionalProperties" not in new:
        new["additionalProperties"] = False
    return new


def _module(version: str) -> Path:
    """The folder of Kubernetes' Go module, in Go's own cache."""
    done = subprocess.run(
        ["go", "mod", "download", "-json", f"k8s.io/kubernetes@v{version}"],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    if done.returncode:
        raise SystemExit(f"Kubernetes {version} could not be fetched: {done.stdout}{done.stderr}")
    return Path(json.loads(done.stdout)["Dir"])


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
