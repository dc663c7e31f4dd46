"""What the cluster test puts beside the charts: the hospitals' PACSs, and a modality that sends all the while."""

from typing import Any

Manifest = dict[str, Any]
Volumes = dict[str, tuple[Manifest, str]]
"""Name → source and path."""
PACS = {
    "pacs-community": ["Orthanc", "/etc/imaging-cloud/community.json"],
    "pacs-tertiary": ["Orthanc", "/etc/imaging-cloud/tertiary.json"],
    "pacs-tcm": ["dcmqrscp", "-c", "/etc/imaging-cloud/tcm.cfg"],
}
"""The stand-ins of `deploy/compose`, with the same configuration, which lies in the ConfigMap `pacs`."""
SENDER = "sender"


def pacs(image: str) -> list[Manifest]:
    """A pod and a Service for each PACS."""
    data: Volumes = {"data": ({"emptyDir": {}}, "/var/lib/imaging-cloud")}
    configuration: Volumes = {"configuration": ({"configMap": {"name": "pacs"}}, "/etc/imaging-cloud")}
    manifests = []
    for name, command in PACS.items():
        manifests.append(_pod(name, image, {"command": command}, data | configuration))
        ports = [{"name": "dicom", "port": 4242}, {"name": "http", "port": 8042}]
        spec = {"selector": {"app": name}, "ports": ports}
        manifests.append({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec})
    return manifests


def sender(story: Manifest) -> Manifest:
    """A modality and somebody who searches."""
    return player(story, SENDER, {"args": ["imaging_native.steady"]})


def player(story: Manifest, name: str, container: Manifest) -> Manifest:
    """A pod that knows where everything lies, as the story's does.

    Parameters
    ----------
    container
        What it does: `args` (a module and its arguments) or `command`.
    """
    theirs = story["spec"]["containers"][0]
    volumes = {volume["name"]: volume for volume in story["spec"]["volumes"]}
    mounts = {mount["name"]: mount["mountPath"] for mount in theirs["volumeMounts"] if mount["name"] != "tmp"}
    wanted = {
        name: ({key: value for key, value in volumes[name].items() if key != "name"}, path)
        for name, path in mounts.items()
    }
    pod = _pod(name, theirs["image"], {"env": theirs["env"], **container}, wanted)
    pod["spec"]["restartPolicy"] = "Never"
    pod["spec"]["hostAliases"] = story["spec"].get("hostAliases", [])
    pod["spec"]["initContainers"] = [one for one in story["spec"].get("initContainers", []) if one["name"] == "portal"]
    # the policy of the story's pod lets it out
    pod["metadata"]["labels"] = dict(story["metadata"]["labels"])
    return pod


def _pod(name: str, image: str, container: Manifest, volumes: Volumes) -> Manifest:
    """A pod as the charts' own are: restricted, with /tmp and these volumes."""
    volumes = {"tmp": ({"emptyDir": {}}, "/tmp"), **volumes}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "fsGroup": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": name,
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "resources": {"requests": {"cpu": "10m", "memory": "96Mi"}, "limits": {"memory": "768Mi"}},
                    "volumeMounts": [{"name": volume, "mountPath": path} for volume, (_, path) in volumes.items()],
                    **container,
                }
            ],
            "volumes": [{"name": volume, **source} for volume, (source, _) in volumes.items()],
        },
    }
