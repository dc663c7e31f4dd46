"""The cluster test's last part: the CronJob's backup, a region lost with its servers, and one that has it all again."""

import json

import cluster_pods
from cluster_commands import NAME, RELEASE, ClusterFailed, helm, kubectl, played, region, until
from cluster_release import BACKUP_KEY, K8S, SERVICES, centre_values, step

JOB, AGAIN = "backup-now", "again"
IDENTITY = "/tmp/identity"
"""In the operators' pod, for the length of the restore."""
TARGET = "/backup"


def save() -> None:
    """The nightly backup, now; and what an operator asks after it."""
    kubectl("delete", "job", JOB, "--ignore-not-found")
    with step("the CronJob's backup"):
        kubectl("create", "job", JOB, f"--from=cronjob/{NAME}-backup")
        until(_ended, "the backup's end", 600)
    print(kubectl("logs", f"job/{JOB}", "-c", "make", "--tail=3"), end="", flush=True)
    if not _count("succeeded"):
        raise ClusterFailed("the backup failed")
    with step("region status, backup verify, audit verify, reconcile --dry-run"):
        for words in (("status",), ("backup", "verify", TARGET), ("audit", "verify"), ("reconcile", "--dry-run")):
            said = region(*words)
            print(said if words == ("status",) else said.splitlines()[-1], flush=True)


def restore() -> None:
    """All servers are lost; a new region gets the backup, and every study of the sender opens as it was."""
    studies = _sent()
    if not studies:
        raise ClusterFailed(f"the pod {cluster_pods.SENDER} stored nothing: there is nothing to find again")
    story = json.loads(kubectl("get", "pod", f"{NAME}-story", "-o", "json"))
    with step("the release is taken away; its servers have no volumes"):
        # in the foreground: a service that still ends would write into the new servers, which have the old ones' names
        helm("uninstall", RELEASE, "--cascade", "foreground", "--wait", "--timeout", "5m")
    asleep = ",".join(f"services.{service}.replicas=0" for service in SERVICES)
    with step("an empty region, no service runs"):
        helm(
            *("install", RELEASE, str(K8S / "centre"), *centre_values(), "--set", asleep),
            *("--wait", "--wait-for-jobs", "--timeout", "10m"),
        )
    kubectl("exec", "-i", f"deploy/{NAME}-operate", "--", "sh", "-c", f"cat > {IDENTITY}", given=str(BACKUP_KEY))
    with step("region restore"):
        print(region("restore", TARGET, "--identity", IDENTITY), flush=True)
    kubectl("exec", f"deploy/{NAME}-operate", "--", "rm", IDENTITY)
    with step("the services start"):
        helm("upgrade", RELEASE, str(K8S / "centre"), *centre_values(), "--wait", "--timeout", "10m")
    with step("region reconcile"):
        print(region("reconcile").splitlines()[-1], flush=True)
    with step(f"{len(studies)} studies are counted again"):
        print(played(cluster_pods.player(story, AGAIN, {"args": ["imaging_native.steady", *studies]}), 900), flush=True)


def _sent() -> list[str]:
    """The studies that the sender stored."""
    lines = kubectl("logs", cluster_pods.SENDER, "-c", cluster_pods.SENDER).splitlines()
    return [line.removeprefix("STUDY ") for line in lines if line.startswith("STUDY ")]


def _ended() -> bool:
    return bool(_count("succeeded") or _count("failed") > 1)


def _count(outcome: str) -> int:
    """How many pods of the backup's job `succeeded` or `failed`."""
    return int(json.loads(kubectl("get", "job", JOB, "-o", "json"))["status"].get(outcome, 0))
