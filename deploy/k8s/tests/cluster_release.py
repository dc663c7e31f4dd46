"""Both charts as the cluster test installs them, with its images, hospitals and keys."""

import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cluster_pods
from cluster_commands import NAME, NAMESPACE, RELEASE, apply, helm, kubectl, run, secret
from pyrage import x25519

from imaging_operate.certificates import RegionCa

K8S = Path(__file__).parents[1]
COMPOSE = K8S.parent / "compose"
PREFIX = os.environ.get("IMAGE_PREFIX", "imaging-cloud")
VERSION = os.environ.get("VERSION", "0.1.0")
SERVICES = ("gateway", "dicom-ingest", "object-writer", "indexer", "consult", "notification", "audit")
OWN = [f"{PREFIX}/{name}:{VERSION}" for name in (*SERVICES, "edge-agent", "operate", "story")]
SERVERS = {name: os.environ.get(f"{name.upper()}_IMAGE", "") for name in ("kafka", "mongodb", "minio", "keycloak")}
PACS_SETTINGS = {
    "pacs_sweep_seconds": "3",
    "pacs_timeout_seconds": "8",
    "pacs_backfill_per_minute": "6000",
    "pacs_header_instances_per_minute": "300",
    "receivers": "1",
}
HOSPITALS: dict[str, dict[str, Any]] = {
    "community": {
        "settings": {
            "write_back_ae_title": "COMMUNITY_PACS",
            "write_back_host": "pacs-community",
            "write_back_port": "4242",
        }
    },
    "secondary": {},
    "tertiary": {
        "pacs": {
            "aeTitle": "TERTIARY_PACS",
            "host": "pacs-tertiary",
            "port": 4242,
            "dicomwebUrl": "http://pacs-tertiary:8042/dicom-web",
        },
        "ports": {"move": 11114},
        "settings": PACS_SETTINGS,
    },
    "tcm": {
        "pacs": {"aeTitle": "TCM_PACS", "host": "pacs-tcm", "port": 4242},
        "ports": {"move": 11114},
        "settings": PACS_SETTINGS,
    },
}
PRIVATE = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]
"""From where the story may ask an edge agent's journal."""
BACKUPS = "backups"
"""The claim of the backups: no part of the release, so that it outlives it."""
BACKUP_KEY = x25519.Identity.generate()


@contextmanager
def step(name: str) -> Iterator[None]:
    """Print how long it took."""
    started = time.monotonic()
    yield
    print(f"  {time.monotonic() - started:6.1f} s  {name}", flush=True)


def install() -> None:
    """Images, the centre, the hospitals."""
    if load := os.environ.get("CLUSTER_LOAD"):
        with step("images are in the nodes"):
            for image in [*OWN, *filter(None, SERVERS.values())]:
                run(*load.split(), image)
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    namespace["metadata"]["labels"] = {"pod-security.kubernetes.io/enforce": "restricted"}  # type: ignore[index]
    apply(namespace)
    request = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "5Gi"}}}
    apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": BACKUPS}, "spec": request})
    with step("helm install --wait of the centre"):
        helm("upgrade", "--install", RELEASE, str(K8S / "centre"), *centre_values(), "--wait", "--timeout", "10m")
    issue_certificates()
    kubectl("delete", "configmap", "pacs", "--ignore-not-found")
    kubectl("create", "configmap", "pacs", f"--from-file={COMPOSE / 'pacs'}")
    apply(*cluster_pods.pacs(OWN[-1]))
    with step(f"helm install --wait of {len(HOSPITALS)} edge agents"):
        for hospital in HOSPITALS:
            install_edge(hospital, "--wait", "--timeout", "5m")
    print(memory(), flush=True)


def centre_values() -> list[str]:
    """The evaluation with this test's images."""
    files = ("-f", str(K8S / "centre" / "values-evaluation.yaml"), "-f", str(K8S / "tests" / "values-lab.yaml"))
    servers = [
        word for name, image in SERVERS.items() if image for word in ("--set", f"evaluation.{name}.image={image}")
    ]
    backup = f"backup.enabled=true,backup.claim={BACKUPS},backup.recipients[0]={BACKUP_KEY.to_public()}"
    return [*files, "--set", f"image.prefix={PREFIX},image.tag={VERSION}", "--set", backup, *servers]


def issue_certificates() -> None:
    """Complete the edge agents' Secrets, as the portal's onboarding (or `region certificates`) would."""
    gateway = secret(f"{NAME}-gateway")
    with tempfile.TemporaryDirectory(prefix="cluster-test-") as folder:
        for theirs, name in (("authority.pem", "ca.pem"), ("authority.key", "ca.key")):
            (Path(folder) / name).write_bytes(gateway[theirs])
        authority = RegionCa.of(Path(folder))
        for hospital in HOSPITALS:
            issued = authority.edge(hospital, [hospital.upper()])
            made = secret(f"{NAME}-edge-agent-{hospital}")
            texts = {name: value.decode() for name, value in made.items()}
            texts |= {
                "tls.pem": issued.cert.read_text(),
                "tls.key": issued.key.read_text(),
                "ca.pem": issued.ca.read_text(),
            }
            metadata = {"name": f"edge-agent-{hospital}"}
            apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": texts})


def install_edge(hospital: str, *arguments: str) -> None:
    """Install or upgrade a hospital's edge agent."""
    domain = f"{NAMESPACE}.svc.cluster.local"
    values = {
        "image": {"prefix": PREFIX, "tag": VERSION},
        "hospital": hospital,
        "aeTitle": hospital.upper(),
        "secret": f"edge-agent-{hospital}",
        "centre": {
            "kafkaBootstrap": f"{NAME}-kafka.{domain}:9094",
            "kafkaTls": False,
            "ingestUrl": f"https://{NAME}-dicom-ingest.{domain}:8443",
            "gatewayUrl": f"https://{NAME}-gateway.{domain}:8443",
            "oidcIssuer": f"http://{NAME}-keycloak.{domain}:8180/realms/region",
        },
        "service": {"type": "None"},
        "allowedCallers": "*@*",
        "spool": {"size": "2Gi", "limitBytes": 1 << 30, "ringBytes": 1 << 28},
        "resources": {"requests": {"cpu": "20m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}},
        "networkPolicy": {
            "centre": {"to": [], "ports": [8180, 8443, 9094]},
            "hospital": {"to": [], "ports": [4242, 8042]},
        },
    }
    settings = {
        "quiet_seconds": "2",
        "status_networks": PRIVATE,
        **HOSPITALS[hospital].get("settings", {}),
    }
    values |= {key: value for key, value in HOSPITALS[hospital].items() if key != "settings"} | {"settings": settings}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(values, file)
        file.flush()
        helm("upgrade", "--install", f"edge-{hospital}", str(K8S / "edge"), "-f", file.name, *arguments)


def memory() -> str:
    """How many pods there are, and how often a container was started again."""
    listed = json.loads(kubectl("get", "pods", "-o", "json"))["items"]
    again = {
        one["metadata"]["name"]: count
        for one in listed
        if (count := sum(status["restartCount"] for status in one["status"].get("containerStatuses", [])))
    }
    return f"           {len(listed)} pods; started again: {again or 'none'}"
