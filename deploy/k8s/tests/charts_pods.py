"""Every pod of the charts: restricted Pod Security, probes, resources, no token, no secret where it does not belong."""

import re
from typing import Any

import pytest
from manifests import SERVERS, SERVICES, Manifest, containers, of_kind, pods, variables

SECRET_ENDINGS = ("_PASSWORD", "_SECRET", "_KEY", "_TOKEN", "_SEAL", "_MONGO_URL", "_VARIABLES")
OPERATE = "test-imaging-cloud-operate"
ADDRESS_WITH_PASSWORD = re.compile(r"://[^/ ]+:[^/ ]+@")


def test_every_pod_keeps_to_restricted_pod_security(manifests: list[Manifest]) -> None:
    for name, _, pod in pods(manifests):
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True, name
        assert security["runAsUser"] > 0, name
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not any(pod.get(shared) for shared in ("hostNetwork", "hostPID", "hostIPC")), name
        for volume in pod.get("volumes", []):
            kinds = {"configMap", "emptyDir", "projected", "secret", "persistentVolumeClaim"}
            assert set(volume) - {"name"} <= kinds, (name, volume)
        for container in containers(pod):
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False, name
            assert own["capabilities"] == {"drop": ["ALL"]}, name


def test_only_servers_of_an_evaluation_write_to_their_root(manifests: list[Manifest]) -> None:
    for name, labels, pod in pods(manifests):
        for container in containers(pod):
            server = labels["app.kubernetes.io/name"] in {"kafka", "mongodb", "minio", "keycloak"}
            assert container["securityContext"]["readOnlyRootFilesystem"] is not server, name


def test_no_pod_has_a_token_or_variables_of_other_services(manifests: list[Manifest]) -> None:
    for name, _, pod in pods(manifests):
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["enableServiceLinks"] is False, name


def test_every_container_has_requests_and_a_memory_limit(manifests: list[Manifest]) -> None:
    for name, _, pod in pods(manifests):
        for container in containers(pod):
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), name
            assert "memory" in container["resources"]["limits"], name
            assert not container["image"].endswith(":latest"), name
            assert ":" in container["image"].rsplit("/", 1)[-1], name


def test_what_serves_has_three_probes(manifests: list[Manifest]) -> None:
    for kind in ("Deployment", "StatefulSet"):
        for name, manifest in of_kind(manifests, kind).items():
            if name == OPERATE:
                continue
            (container,) = manifest["spec"]["template"]["spec"]["containers"]
            assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys(), name
            if manifest["metadata"]["labels"]["app.kubernetes.io/name"] in (*SERVICES, "edge-agent"):
                assert container["readinessProbe"]["httpGet"]["path"] == "/health/ready", name
                assert container["livenessProbe"]["httpGet"]["path"] == "/health/live", name


def test_termination_is_longer_than_open_requests_get(manifests: list[Manifest]) -> None:
    for name, labels, pod in pods(manifests):
        if labels["app.kubernetes.io/name"] in (*SERVICES, "edge-agent"):
            grace = pod["terminationGracePeriodSeconds"]
            assert grace > 5 + 20, f"{name}: five until nobody asks it any more, twenty for open requests"


def test_no_secret_lies_outside_of_secrets(manifests: list[Manifest]) -> None:
    for manifest in manifests:
        if manifest["kind"] == "Secret":
            continue
        assert manifest["kind"] != "ConfigMap" or "dashboard" in manifest["metadata"]["name"], manifest["metadata"]
        for path, text in _texts(manifest, manifest["kind"]):
            assert "PRIVATE KEY" not in text, path
            assert not ADDRESS_WITH_PASSWORD.search(text), path
    for name, _, pod in pods(manifests):
        for container in containers(pod):
            plain = {
                one["name"] for one in container.get("env", []) if "value" in one and not one["value"].startswith("/")
            }
            assert not {variable for variable in plain if variable.endswith(SECRET_ENDINGS)}, name


def test_generated_secrets_do_not_show_in_any_other_manifest(evaluation: list[Manifest]) -> None:
    secret = {text for one in of_kind(evaluation, "Secret").values() for text in one.get("stringData", {}).values()}
    long = {text for text in secret if len(text) >= 40}
    assert len(long) > 40
    for manifest in evaluation:
        if manifest["kind"] != "Secret":
            shown = [path for path, text in _texts(manifest, manifest["kind"]) if text in long]
            assert not shown


def test_services_with_more_than_one_copy_have_a_disruption_budget(
    production: list[Manifest], evaluation: list[Manifest]
) -> None:
    assert sorted(of_kind(production, "PodDisruptionBudget")) == [f"test-imaging-cloud-{name}" for name in SERVICES]
    assert not of_kind(evaluation, "PodDisruptionBudget"), "with one copy a budget would block every drain"
    for budget in of_kind(production, "PodDisruptionBudget").values():
        assert budget["spec"]["maxUnavailable"] == 1


def test_copies_are_spread_over_zones_and_nodes(production: list[Manifest]) -> None:
    for name, deployment in _services(production).items():
        spread = deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]
        keys = [one["topologyKey"] for one in spread]
        assert keys == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"], name


def test_a_rolling_upgrade_never_goes_below_the_copies_there_are(manifests: list[Manifest]) -> None:
    for name, deployment in _services(manifests).items():
        assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}, name


def test_all_seven_services_come_from_one_template(production: list[Manifest], evaluation: list[Manifest]) -> None:
    names = [f"test-imaging-cloud-{name}" for name in SERVICES]
    assert sorted(_services(production)) == names
    assert sorted(_services(evaluation)) == names
    assert not of_kind(production, "StatefulSet"), "external servers are somebody else's"
    assert sorted(of_kind(evaluation, "StatefulSet")) == [f"test-imaging-cloud-{name}" for name in SERVERS]


@pytest.mark.parametrize("service", SERVICES)
def test_every_variable_is_a_setting_of_the_service(
    service: str, production: list[Manifest], evaluation: list[Manifest]
) -> None:
    fields, prefix = _settings(service)
    for variant in (production, evaluation):
        pod = of_kind(variant, "Deployment")[f"test-imaging-cloud-{service}"]["spec"]["template"]["spec"]
        for variable in variables(pod):
            assert variable.removeprefix(prefix).lower() in fields, variable


def test_every_variable_of_the_edge_agent_and_the_setup_is_a_setting(
    edge: list[Manifest], production: list[Manifest], evaluation: list[Manifest]
) -> None:
    from imaging_operate.setup.settings import SetupSettings

    fields, prefix = _settings("edge-agent")
    (agent,) = of_kind(edge, "StatefulSet").values()
    for variable in variables(agent["spec"]["template"]["spec"]):
        assert variable.removeprefix(prefix).lower() in fields, variable
    for variant in (production, evaluation):
        (job,) = of_kind(variant, "Job").values()
        for variable in variables(job["spec"]["template"]["spec"]):
            assert variable.removeprefix("SETUP_").lower() in SetupSettings.model_fields, variable


def test_every_variable_and_secret_of_the_operators_is_a_setting(
    production: list[Manifest], evaluation: list[Manifest]
) -> None:
    from imaging_operate.settings import RegionSettings

    fields = set(RegionSettings.model_fields)
    for variant in (production, evaluation):
        pod = of_kind(variant, "Deployment")[OPERATE]["spec"]["template"]["spec"]
        assert {variable.removeprefix("REGION_").lower() for variable in variables(pod)} <= fields
    files = of_kind(evaluation, "Secret")[OPERATE]["stringData"]
    assert {file.removeprefix("region_") for file in files} <= fields


def test_every_secret_file_is_a_setting(evaluation: list[Manifest]) -> None:
    for service in SERVICES:
        fields, prefix = _settings(service)
        files = of_kind(evaluation, "Secret")[f"test-imaging-cloud-{service}"]["stringData"]
        for file in files:
            if not file.endswith((".pem", ".key")):
                assert file.removeprefix(prefix.lower()) in fields, file


def _services(manifests: list[Manifest]) -> dict[str, Manifest]:
    """The Deployments that serve somebody."""
    return {name: one for name, one in of_kind(manifests, "Deployment").items() if name != OPERATE}


def _settings(service: str) -> tuple[set[str], str]:
    """The names of a service's settings, and their prefix."""
    import importlib

    from imaging_common.settings import SecretFiles

    module = importlib.import_module(f"{service.replace('-', '_')}.settings")
    prefix = f"{service.replace('-', '_').upper()}_"
    for one in vars(module).values():
        if isinstance(one, type) and issubclass(one, SecretFiles) and one.model_config.get("env_prefix") == prefix:
            return set(one.model_fields), prefix
    raise AssertionError(f"{service} has no settings with the prefix {prefix}")


def _texts(value: Any, path: str) -> list[tuple[str, str]]:
    """Every text in a manifest with its path."""
    if isinstance(value, dict):
        return [found for key, one in value.items() for found in _texts(one, f"{path}.{key}")]
    if isinstance(value, list):
        return [found for number, one in enumerate(value) for found in _texts(one, f"{path}.{number}")]
    return [(path, value)] if isinstance(value, str) else []
