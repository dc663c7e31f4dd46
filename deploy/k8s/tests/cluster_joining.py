"""A hospital joins with what the portal gives to its IT: one archive, two Secrets, the edge chart (see README.md)."""

import base64
import io
import json
import tempfile
import zipfile
from pathlib import Path

import cluster_pods
from cluster_commands import NAME, helm, kubectl, played, region, until
from cluster_release import K8S, PREFIX, VERSION, step

HOSPITAL = "east"
ONBOARDING, SCANNER = "onboarding", "scanner"
SCAN = """
python -c 'import pathlib, imaging_native.ct as ct; ct.write_series(pathlib.Path("/tmp/ct"), slices=1, seed=5)'
dcmsend -aec EAST +sd edge-agent-east 11112 /tmp/ct
"""


def join() -> None:
    """Onboarded in the portal, installed from the archive alone, its first image in the index."""
    story = json.loads(kubectl("get", "pod", f"{NAME}-story", "-o", "json"))
    with step(f"{HOSPITAL} is onboarded in the portal"):
        command = ["sh", "-c", f"python -m imaging_native.joining {HOSPITAL} | base64"]
        text = played(cluster_pods.player(story, ONBOARDING, {"command": command}), 180)
    with step(f"helm install --wait of {HOSPITAL}'s edge agent from its archive"):
        install(base64.b64decode(text))
    with step(f"{HOSPITAL}'s first image is in the index"):
        played(cluster_pods.player(story, SCANNER, {"command": ["sh", "-ec", SCAN]}), 120)
        until(lambda: json.loads(region("studies", "list", "--hospital", HOSPITAL, "--json")), "the study", 120)


def install(archive: bytes) -> None:
    """The steps of the guide for the hospital's IT."""
    with tempfile.TemporaryDirectory(prefix="cluster-joining-") as folder:
        zipfile.ZipFile(io.BytesIO(archive)).extractall(folder)
        place = Path(folder) / f"edge-agent-{HOSPITAL}"
        tls = {"tls.pem": "certificate.pem", "tls.key": "key.pem", "ca.pem": "ca.pem"}
        secrets = {
            f"edge-agent-{HOSPITAL}-env": [f"--from-env-file={place / 'edge-agent.env'}"],
            f"edge-agent-{HOSPITAL}": [f"--from-file={name}={place / 'tls' / file}" for name, file in tls.items()],
        }
        for name, content in secrets.items():
            kubectl("delete", "secret", name, "--ignore-not-found")
            kubectl("create", "secret", "generic", name, *content)
    values = {
        "image": {"prefix": PREFIX, "tag": VERSION},
        "service": {"type": "None"},
        "spool": {"size": "1Gi", "limitBytes": 1 << 29, "ringBytes": 1 << 27},
        "resources": {"requests": {"cpu": "20m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}},
        "networkPolicy": {"centre": {"to": [], "ports": [8180, 8443, 9094]}},
        "settings": {"quiet_seconds": 2},
    }
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(values, file)
        file.flush()
        named = f"hospital={HOSPITAL},aeTitle={HOSPITAL.upper()}"
        secret = f"secret=edge-agent-{HOSPITAL},envSecret=edge-agent-{HOSPITAL}-env"
        helm(
            *("upgrade", "--install", f"edge-{HOSPITAL}", str(K8S / "edge"), "-f", file.name),
            *("--set", named, "--set", secret, "--wait", "--timeout", "5m"),
        )
