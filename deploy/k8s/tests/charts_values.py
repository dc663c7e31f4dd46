"""Helm's own checks, the Kubernetes versions, and what the values refuse or switch."""

import base64
import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml
from conftest import EDGE, EVALUATION, K8S, PRODUCTION, VARIANTS, Render, helm, program, template
from manifests import SERVICES, Manifest, of_kind

OBSERVABILITY = K8S.parent / "observability"
WRONG = {
    "a setting that does not exist": ("centre", PRODUCTION, ["--set", "gatway.replicas=3"], "gatway"),
    "a service that does not exist": ("centre", PRODUCTION, ["--set", "services.viewer.replicas=1"], "viewer"),
    "copies that are no number": ("centre", PRODUCTION, ["--set-string", "services.audit.replicas=two"], "replicas"),
    "a broker without a port": ("centre", PRODUCTION, ["--set", "kafka.bootstrap=kafka"], "bootstrap"),
    "a hospital's id with capitals": ("centre", PRODUCTION, ["--set", "region.hospitals[0].hospital=Town"], "hospital"),
    "a tier that does not exist": ("centre", PRODUCTION, ["--set", "region.hospitals[0].tier=cloud"], "tier"),
    "a portal's address without a scheme": ("centre", PRODUCTION, ["--set", "portal.url=portal.example"], "url"),
    "a door without TLS": ("centre", PRODUCTION, ["--set", "doors.gateway.url=http://door.example"], "url"),
    "a backup that a private key opens": (
        "centre",
        PRODUCTION,
        ["--set", "backup.recipients[0]=AGE-SECRET-KEY-1"],
        "recipients",
    ),
    "too little time to end": (
        "centre",
        PRODUCTION,
        ["--set", "services.gateway.terminationGracePeriodSeconds=5"],
        "terminationGracePeriodSeconds",
    ),
    "an edge agent without a hospital": ("edge", EDGE, ["--set", "hospital="], "hospital"),
    "an AE title that is too long": ("edge", EDGE, ["--set", "aeTitle=SEVENTEENLETTERSX"], "aeTitle"),
    "an ingest without TLS": ("edge", EDGE, ["--set", "centre.ingestUrl=http://ingest.example"], "ingestUrl"),
    "a spool without a unit that exists": ("edge", EDGE, ["--set", "spool.size=50GB"], "size"),
}
MISSING = {
    "kafka.bootstrap": "kafka.bootstrap: name your Kafka's brokers",
    "objects.endpoint": "objects.endpoint: name your object store",
    "oidc.issuer": "oidc.issuer: name your OIDC provider's issuer",
    "ingress.host": "ingress.host: the portal's name",
    "backup.claim": "backup.claim: name the PersistentVolumeClaim",
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_lint_finds_nothing(variant: str) -> None:
    chart, values = VARIANTS[variant]
    files = [word for file in values for word in ("-f", str(file))]
    done = helm("lint", "--strict", "--kube-version", "1.34.0", str(K8S / chart), *files)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("version", os.environ.get("KUBERNETES_VERSIONS", "").split())
@pytest.mark.parametrize("variant", VARIANTS)
def test_manifests_are_valid_for_kubernetes(variant: str, version: str) -> None:
    done = template(*VARIANTS[variant], "--kube-version", version)
    assert done.returncode == 0, done.stderr
    schemas = Path(os.environ["KUBERNETES_SCHEMAS"]) / "{{.NormalizedKubernetesVersion}}" / "{{.ResourceKind}}.json"
    checked = subprocess.run(
        [
            *(program("kubeconform"), "-strict", "-summary", "-output", "json"),
            *("-kubernetes-version", version, "-schema-location", str(schemas)),
            *("-skip", "ServiceMonitor,PrometheusRule"),  # of the Prometheus operator, not of Kubernetes
        ],
        input=done.stdout,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    answer = json.loads(checked.stdout)
    assert not answer.get("resources"), answer["resources"]
    assert answer["summary"]["valid"] > (3 if variant == "edge" else 20)
    assert answer["summary"]["invalid"] == answer["summary"]["errors"] == 0


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_values_are_refused(wrong: str) -> None:
    chart, values, arguments, named = WRONG[wrong]
    done = template(chart, values, *arguments)
    assert done.returncode != 0
    assert named in done.stderr


@pytest.mark.parametrize("value", MISSING)
def test_a_missing_server_is_named(value: str) -> None:
    done = template("centre", PRODUCTION, "--set", f"{value}=")
    assert done.returncode != 0
    assert MISSING[value] in done.stderr


def test_a_chart_does_not_install_on_an_older_kubernetes() -> None:
    done = template("centre", PRODUCTION, "--kube-version", "1.31.0")
    assert done.returncode != 0
    assert "incompatible" in done.stderr


def test_external_servers_get_three_replicas_and_the_evaluation_one(
    production: list[Manifest], evaluation: list[Manifest]
) -> None:
    for variant, replicas in ((production, "3"), (evaluation, "1")):
        (job,) = of_kind(variant, "Job").values()
        environment = {one["name"]: one["value"] for one in job["spec"]["template"]["spec"]["containers"][0]["env"]}
        assert environment["SETUP_KAFKA_REPLICATION"] == replicas


def test_the_set_up_runs_before_services_need_it_and_again_before_each_upgrade(render: Render) -> None:
    assert _hook(render("centre", PRODUCTION)) == "pre-install,pre-upgrade"
    assert _hook(render("centre", EVALUATION)) == "", "a hook would wait for services that wait for it"
    assert _hook(render("centre", EVALUATION, "--is-upgrade")) == "pre-upgrade"


def test_what_the_set_up_tells_servers_is_what_services_get(evaluation: list[Manifest]) -> None:
    secrets = {name.removeprefix("test-imaging-cloud-"): one for name, one in of_kind(evaluation, "Secret").items()}
    setup = secrets["setup"]["stringData"]
    users = json.loads(setup["setup_kafka_users"])
    assert users["gateway"] == secrets["gateway"]["stringData"]["gateway_kafka_password"]
    assert users["operations"] == secrets["gateway"]["stringData"]["gateway_operations_kafka_password"]
    assert users["edge-tcm"] == secrets["edge-agent-tcm"]["stringData"]["edge_agent_kafka_password"]
    assert json.loads(setup["setup_mongo_users"])["audit"] in secrets["audit"]["stringData"]["audit_mongo_url"]
    keys = json.loads(setup["setup_minio_users"])["indexer"]
    assert keys == [secrets["indexer"]["stringData"][f"indexer_minio_{name}_key"] for name in ("access", "secret")]
    variables = json.loads(setup["setup_realm_variables"])
    assert variables["PORTAL_CLIENT_SECRET"] == secrets["gateway"]["stringData"]["gateway_oidc_client_secret"]
    assert variables["DOCTOR_PASSWORD"] == secrets["people"]["stringData"]["doctor.community"]


def test_the_set_up_of_an_evaluation_fills_the_whole_realm(evaluation: list[Manifest]) -> None:
    from imaging_operate.setup.realm import build_realm
    from imaging_operate.topology import bucket_policies, kafka_principals

    hospitals, organisations = ["community", "secondary", "tertiary", "tcm"], ["residents"]
    (setup,) = (one["stringData"] for name, one in of_kind(evaluation, "Secret").items() if name.endswith("-setup"))
    assert json.loads(setup["setup_kafka_users"]).keys() == set(kafka_principals(hospitals, organisations))
    assert json.loads(setup["setup_minio_users"]).keys() == bucket_policies().keys()
    variables = json.loads(setup["setup_realm_variables"])
    plain = {"PORTAL_URL": "http://portal.example", "MAIL_HOST": "mail", "MAIL_PORT": "25"}
    assert len(build_realm(variables | plain, hospitals, organisations)["users"]) >= 12


def test_every_generated_value_is_kept_for_the_next_upgrade(evaluation: list[Manifest]) -> None:
    secrets = of_kind(evaluation, "Secret")
    kept = secrets["test-imaging-cloud-generated"]
    assert kept["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    values = {base64.b64decode(value).decode() for value in kept["data"].values()}
    for name, secret in secrets.items():
        for key, value in secret.get("stringData", {}).items():
            if len(value) == 40:
                assert value in values, f"{name}: {key} would change with an upgrade"


def test_the_generated_authority_can_sign_edge_agents(evaluation: list[Manifest], tmp_path: Path) -> None:
    from cryptography import x509

    from imaging_common.pki import load_authority

    data = of_kind(evaluation, "Secret")["test-imaging-cloud-gateway"]["stringData"]
    for name in ("authority.pem", "authority.key"):
        (tmp_path / name).write_text(data[name])
    authority = load_authority(tmp_path / "authority.pem", tmp_path / "authority.key")
    door = x509.load_pem_x509_certificate(data["tls.pem"].encode())
    door.verify_directly_issued_by(authority.certificate)
    names = door.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "test-imaging-cloud-gateway.imaging.svc.cluster.local" in names.get_values_for_type(x509.DNSName)


def test_doors_take_certificates_of_cert_manager(production: list[Manifest]) -> None:
    pod = of_kind(production, "Deployment")["test-imaging-cloud-gateway"]["spec"]["template"]["spec"]
    (volume,) = (one for one in pod["volumes"] if one["name"] == "secrets")
    assert [source["secret"]["name"] for source in volume["projected"]["sources"]] == [
        "test-imaging-cloud-gateway",
        "gateway-door",
    ]


def test_the_ingress_has_tls_and_the_portal_its_address(production: list[Manifest]) -> None:
    (ingress,) = of_kind(production, "Ingress").values()
    assert ingress["spec"]["tls"] == [{"hosts": ["portal.region.example"], "secretName": "portal-tls"}]
    pod = of_kind(production, "Deployment")["test-imaging-cloud-gateway"]["spec"]["template"]["spec"]
    environment = {one["name"]: one["value"] for one in pod["containers"][0]["env"]}
    assert environment["GATEWAY_PUBLIC_URL"] == "https://portal.region.example"


def test_dicom_tls_comes_in_by_a_service_of_its_own(production: list[Manifest]) -> None:
    service = of_kind(production, "Service")["test-imaging-cloud-dicom-ingest-door"]
    assert service["spec"]["type"] == "LoadBalancer"
    assert {port["name"]: port["port"] for port in service["spec"]["ports"]} == {"door": 8443, "dicom": 2762}


def test_a_setting_of_the_values_wins(render: Render) -> None:
    manifests = render("centre", PRODUCTION, "--set", "services.indexer.settings.quiet_seconds=7")
    pod = of_kind(manifests, "Deployment")["test-imaging-cloud-indexer"]["spec"]["template"]["spec"]
    assert {"name": "INDEXER_QUIET_SECONDS", "value": "7"} in pod["containers"][0]["env"]


def test_large_numbers_stay_whole(render: Render, edge: list[Manifest]) -> None:
    manifests = render("centre", EVALUATION)
    pod = of_kind(manifests, "Deployment")["test-imaging-cloud-object-writer"]["spec"]["template"]["spec"]
    assert {"name": "OBJECT_WRITER_CACHE_BYTES", "value": "4294967296"} in pod["containers"][0]["env"]
    (agent,) = of_kind(edge, "StatefulSet").values()
    environment = agent["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": "EDGE_AGENT_SPOOL_LIMIT_BYTES", "value": "32212254720"} in environment


def test_rules_and_dashboards_are_those_of_the_observability_folder(production: list[Manifest]) -> None:
    for folder, pattern in (("rules", "*.yml"), ("grafana/dashboards", "*.json")):
        theirs = {path.name: path.read_bytes() for path in (OBSERVABILITY / folder).glob(pattern)}
        own = K8S / "centre" / "observability" / Path(folder).name
        assert {path.name: path.read_bytes() for path in own.glob(pattern)} == theirs, "call `make charts`, commit it"
    rules = of_kind(production, "PrometheusRule")
    assert len(rules) == len(list((OBSERVABILITY / "rules").glob("*.yml")))
    for rule in rules.values():
        assert rule["spec"]["groups"]
    dashboards = of_kind(production, "ConfigMap")
    assert len(dashboards) == len(list((OBSERVABILITY / "grafana" / "dashboards").glob("*.json")))
    for dashboard in dashboards.values():
        for text in dashboard["data"].values():
            json.loads(text)


def test_metrics_of_every_service_are_scraped_under_its_name(production: list[Manifest]) -> None:
    (monitor,) = of_kind(production, "ServiceMonitor").values()
    assert monitor["spec"]["jobLabel"] == "app.kubernetes.io/name"
    assert monitor["metadata"]["labels"]["release"] == "prometheus"


def test_a_backup_goes_into_its_claim_and_older_ones_leave(production: list[Manifest]) -> None:
    (job,) = of_kind(production, "CronJob").values()
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (make,), (prune,) = pod["initContainers"], pod["containers"]
    assert make["args"] == ["backup", "make", "/backup"]
    assert prune["args"] == ["backup", "prune", "/backup", "--keep", "14"]
    assert {"name": "backup", "persistentVolumeClaim": {"claimName": "backups"}} in pod["volumes"]
    told = {one["name"]: one["value"] for one in make["env"]}
    assert told["REGION_BACKUP_RECIPIENTS"].startswith("age1")


def test_operators_find_the_backups_and_every_service_in_their_pod(production: list[Manifest]) -> None:
    pod = of_kind(production, "Deployment")["test-imaging-cloud-operate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    told = {one["name"]: one["value"] for one in container["env"]}
    assert sorted(json.loads(told["REGION_SERVICES"])) == sorted(SERVICES)
    assert {"name": "backup", "mountPath": "/backup"} in container["volumeMounts"]
    assert told["REGION_KAFKA_CA"] == "/etc/imaging/kafka-ca/ca.crt"


def test_nobody_has_to_have_the_operators_pod(render: Render) -> None:
    manifests = render("centre", PRODUCTION, "--set", "operate.enabled=false")
    assert not [name for name in of_kind(manifests, "Deployment") if name.endswith("operate")]
    assert of_kind(manifests, "CronJob"), "the backup does without it"
    backup = "operate.enabled=false,backup.enabled=true,backup.claim=backups,backup.recipients[0]=age1" + "q" * 58
    evaluation = render("centre", EVALUATION, "--set", backup)
    assert "test-imaging-cloud-operate" in of_kind(evaluation, "Secret"), "the CronJob signs in with it"


def test_an_onboarding_bundle_is_enough_for_an_edge_agent(render: Render) -> None:
    values = "hospital=community,aeTitle=COMMUNITY,secret=edge-agent,envSecret=edge-agent-env"
    manifests = render("edge", (), "--set", values)
    (agent,) = of_kind(manifests, "StatefulSet").values()
    container = agent["spec"]["template"]["spec"]["containers"][0]
    assert container["envFrom"] == [{"secretRef": {"name": "edge-agent-env"}}]
    said_by_the_bundle = {"KAFKA_BOOTSTRAP", "KAFKA_TLS", "INGEST_URL", "GATEWAY_URL", "OIDC_ISSUER", "ALLOWED_CALLERS"}
    named = {one["name"].removeprefix("EDGE_AGENT_") for one in container["env"]}
    assert not named & said_by_the_bundle, "the chart's own variables would win"
    assert {"SPOOL_DIR", "TLS_CERT", "HTTP_HOST"} <= named
    told = {one["name"]: one["value"] for one in container["env"]}
    files = {name: value for name, value in told.items() if name.endswith(("_CERT", "_KEY", "_CA"))}
    assert files["EDGE_AGENT_KAFKA_CA"] == "/run/secrets/ca.pem", "the bundle's own is relative to its folder"
    assert all(value.startswith("/run/secrets/") for value in files.values()), files


def test_charts_have_the_version_of_their_services() -> None:
    versions = {yaml.safe_load((K8S / chart / "Chart.yaml").read_text())["appVersion"] for chart in ("centre", "edge")}
    assert versions == {"0.1.0"}


def _hook(manifests: list[Manifest]) -> str:
    (job,) = of_kind(manifests, "Job").values()
    hook: str = job["metadata"].get("annotations", {}).get("helm.sh/hook", "")
    return hook
