"""What tests ask of rendered manifests."""

from collections.abc import Iterable, Iterator
from typing import Any

Manifest = dict[str, Any]
SERVICES = ("audit", "consult", "dicom-ingest", "gateway", "indexer", "notification", "object-writer")
SERVERS = ("kafka", "keycloak", "mailbox", "minio", "mongodb")


def of_kind(manifests: Iterable[Manifest], kind: str) -> dict[str, Manifest]:
    """The manifests of a kind, by name."""
    return {manifest["metadata"]["name"]: manifest for manifest in manifests if manifest["kind"] == kind}


def pods(manifests: Iterable[Manifest]) -> Iterator[tuple[str, Manifest, Manifest]]:
    """Of everything that makes pods: its name, the pod's labels and its specification."""
    for manifest in manifests:
        spec = manifest.get("spec", {})
        if manifest["kind"] == "CronJob":
            spec = spec["jobTemplate"]["spec"]
        if manifest["kind"] == "Pod":
            yield manifest["metadata"]["name"], manifest["metadata"]["labels"], spec
        elif "template" in spec:
            yield manifest["metadata"]["name"], spec["template"]["metadata"]["labels"], spec["template"]["spec"]


def containers(pod: Manifest) -> list[Manifest]:
    """All containers of a pod."""
    return [*pod.get("initContainers", []), *pod["containers"]]


def variables(pod: Manifest) -> dict[str, str]:
    """The environment of a pod's first container, without what comes from Secrets."""
    return {one["name"]: one["value"] for one in pod["containers"][0]["env"] if "value" in one}


def selected(policy: Manifest, labels: dict[str, str]) -> bool:
    """Whether a NetworkPolicy is for a pod with these labels."""
    return matches(policy["spec"]["podSelector"], labels)


def matches(selector: Manifest, labels: dict[str, str]) -> bool:
    """Whether a label selector takes these labels."""
    wanted = selector.get("matchLabels", {})
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    for rule in selector.get("matchExpressions", []):
        assert rule["operator"] == "In", rule
        if labels.get(rule["key"]) not in rule["values"]:
            return False
    return True
