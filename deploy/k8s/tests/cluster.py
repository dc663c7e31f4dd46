"""`make cluster-test`: both charts on the cluster that `kubectl` reaches, with all that an operator does to them.

The story, a hospital that joins, upgrade and rollback under load, the backup of that region in an empty one.

Prints a line with its time for each step, and ends with `CLUSTER PASS` (0) or `CLUSTER FAIL <why>` (1). A cluster that
is not there is a failure. Settings: IMAGE_PREFIX, VERSION, KAFKA_IMAGE, MONGODB_IMAGE, MINIO_IMAGE, KEYCLOAK_IMAGE,
CLUSTER_LOAD (a command that puts an image into the cluster's nodes; empty: they pull), CLUSTER_NAMESPACE,
KEEP=1 (leaves everything there), ONLY=install|story|upgrade (stops after it).
"""

import json
import os
import sys

import cluster_backup
import cluster_joining
import cluster_pods
from cluster_commands import NAME, NAMESPACE, RELEASE, ClusterFailed, apply, helm, kubectl, phase, until
from cluster_release import K8S, SERVICES, VERSION, centre_values, install, install_edge, step

TEST_TIMEOUT = "20m"


def main() -> int:
    """The whole test."""
    only = os.environ.get("ONLY", "")
    try:
        with step("a cluster answers"):
            version = json.loads(kubectl("version", "-o", "json", seconds=30))["serverVersion"]["gitVersion"]
        print(f"           Kubernetes {version}", flush=True)
        try:
            install()
            if only != "install":
                play_story()
                cluster_joining.join()
            if only not in ("install", "story"):
                upgrade_under_load()
            if not only:
                cluster_backup.save()
                cluster_backup.restore()
        finally:
            if not os.environ.get("KEEP"):
                kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=true")
    except ClusterFailed as error:
        print(f"CLUSTER FAIL {error}", flush=True)
        return 1
    print("CLUSTER PASS", flush=True)
    return 0


def play_story() -> None:
    """`helm test`; its lines."""
    with step("helm test: the story"):
        try:
            helm("test", RELEASE, "--timeout", TEST_TIMEOUT, seconds=1500)
        finally:
            print(kubectl("logs", f"{NAME}-story", "-c", "story", "--tail=60"), flush=True)


def upgrade_under_load() -> None:
    """Every service and edge agent is replaced, and replaced back, while studies are stored; then the ledger."""
    story = json.loads(kubectl("get", "pod", f"{NAME}-story", "-o", "json"))
    kubectl("delete", "pod", cluster_pods.SENDER, "--ignore-not-found")
    apply(cluster_pods.sender(story))
    until(lambda: "STEADY BEGINS" in kubectl("logs", cluster_pods.SENDER), "the sender's start", 120)
    before, revision = pods(), json.loads(helm("status", RELEASE, "-o", "json"))["version"]
    upgraded = os.environ.get("UPGRADE_VERSION", VERSION)
    changes = ["--set", f"image.tag={upgraded}", "--set-string", "podAnnotations.imaging-cloud/release=second"]
    with step(f"helm upgrade --wait of the centre to {upgraded}, under load"):
        helm("upgrade", RELEASE, str(K8S / "centre"), *centre_values(), *changes, "--wait", "--timeout", "10m")
    between = pods()
    with step("helm upgrade --wait of the sender's edge agent, under load"):
        install_edge("community", "--set", "settings.uploads=3", "--wait", "--timeout", "5m")
    with step("helm rollback --wait of the centre, under load"):
        helm("rollback", RELEASE, str(revision), "--wait", "--timeout", "10m")
    after = pods()
    kept = (before & between) | (between & after)
    if kept:
        raise ClusterFailed(f"{len(kept)} pods were not replaced: {sorted(kept)[:3]}")
    with step("every receipt has come, everything was asked for"):
        if phase(cluster_pods.SENDER) != "Running":
            raise ClusterFailed(f"the sender ended by itself:\n{kubectl('logs', cluster_pods.SENDER, '--tail=20')}")
        kubectl("exec", cluster_pods.SENDER, "--", "touch", "/tmp/stop")
        until(lambda: phase(cluster_pods.SENDER) in ("Succeeded", "Failed"), "the sender's ledger", 900)
    said = kubectl("logs", cluster_pods.SENDER, "--tail=20")
    print(said, flush=True)
    if phase(cluster_pods.SENDER) != "Succeeded":
        raise ClusterFailed("the ledger does not balance")


def pods() -> set[str]:
    """The names of all running pods of the seven services."""
    selector = f"app.kubernetes.io/instance={RELEASE},app.kubernetes.io/name in ({','.join(SERVICES)})"
    listed = json.loads(kubectl("get", "pods", "-l", selector, "-o", "json"))["items"]
    return {one["metadata"]["name"] for one in listed if "deletionTimestamp" not in one["metadata"]}


if __name__ == "__main__":
    sys.exit(main())
