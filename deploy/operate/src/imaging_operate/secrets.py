"""Every random secret of a region as files: made once, laid out as the services find them in `/run/secrets`.

`<folder>/<service>/<setting>` is what a service mounts, `servers/` what Kafka, MongoDB, MinIO and Keycloak are started
with, `setup/` what `region setup` reads, `operate/` what its other commands read, `people/` the passwords of people,
`authority/` the certificate authority.
The folder itself is its owner's alone; the files in it can be read by whoever a container's mount gives them to.
"""

import json
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cryptography import x509

from imaging_common.messaging.permissions import ONBOARDING, OPERATIONS, edge_principal, ehr_principal
from imaging_operate.certificates import LIFETIME, Certificate, RegionCa, replace_file
from imaging_operate.setup import realm
from imaging_operate.topology import (
    DATABASES,
    DIRECTORY_CLIENTS,
    DOORS,
    KAFKA_ADMIN,
    bucket_policies,
    kafka_principals,
)

FOLDER_MODE, INNER_MODE, FILE_MODE = 0o700, 0o755, 0o644
RENEW_BEFORE = LIFETIME / 3
KAFKA_LOGIN = """KafkaServer {{
  org.apache.kafka.common.security.plain.PlainLoginModule required
    username="{user}" password="{password}" user_{user}="{password}";
  org.apache.kafka.common.security.scram.ScramLoginModule required;
}};
"""
"""JAAS: brokers and the administrator sign in by PLAIN, everybody else by SCRAM with what `region setup` made."""


class SecretFolder:
    """Writes what is missing and leaves what is there."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
        self.folder = folder

    def once(self, place: str, name: str, make: Callable[[], str] = lambda: secrets.token_urlsafe(24)) -> str:
        """The secret that is there, else a new one."""
        path = self.folder / place / name
        if not path.exists():
            self.put(place, name, make())
        return path.read_text("utf-8")

    def put(self, place: str, name: str, text: str) -> None:
        """Write what follows from other secrets; untouched where it is the same already."""
        path = self.folder / place / name
        path.parent.mkdir(exist_ok=True)
        path.parent.chmod(INNER_MODE)
        if not path.exists() or path.read_text("utf-8") != text:
            replace_file(path, text.encode(), FILE_MODE)

    def mapping(self, place: str, name: str, keys: Iterable[str], make: Callable[[str], Any]) -> dict[str, Any]:
        """A JSON object that has all these keys; those that are there keep their value."""
        path = self.folder / place / name
        known: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
        whole = known | {key: make(key) for key in keys if key not in known}
        self.put(place, name, json.dumps(whole, indent=1))
        return whole


def create_secrets(
    folder: Path,
    hospitals: Sequence[str],
    organisations: Sequence[str],
    *,
    demo: bool = False,
    mongodb: str = "mongodb:27017",
    replica_set: str = "rs0",
    hosts: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Make what is missing; run again with more hospitals or organisations, it adds theirs.

    Parameters
    ----------
    demo
        Also passwords for the people of the demonstration; else only for the first operator.
    mongodb
        `host:port`, comma-separated, as the services reach it.
    hosts
        Door, or `kafka` → further names under which edge agents reach it.
    """
    store = SecretFolder(folder)
    kafka = store.mapping("setup", "setup_kafka_users", kafka_principals(hospitals, organisations), _password)
    databases = store.mapping("setup", "setup_mongo_users", DATABASES, _password)
    buckets = store.mapping("setup", "setup_minio_users", bucket_policies(), lambda name: [name, _password(name)])
    known = realm.people()
    people = known if demo else {name: known[name] for name in known if known[name] == realm.OPERATOR}
    passwords = {known[name]: store.once("people", name, lambda: secrets.token_urlsafe(12)) for name in people}
    clients = [realm.secret_variable(client) for client in realm.client_ids(hospitals, organisations)]
    variables = store.mapping("setup", "setup_realm_variables", clients, _password)
    store.put("setup", "setup_realm_variables", json.dumps(variables | passwords, indent=1))
    _servers(store, mongodb, replica_set)
    for service in (*DATABASES, "dicom-ingest"):
        prefix = service.replace("-", "_")
        store.put(service, f"{prefix}_kafka_password", kafka[service])
        if service in databases:
            store.put(service, f"{prefix}_mongo_url", mongo_url(service, databases[service], mongodb, replica_set))
        if service in buckets:
            store.put(service, f"{prefix}_minio_access_key", buckets[service][0])
            store.put(service, f"{prefix}_minio_secret_key", buckets[service][1])
        if service in DIRECTORY_CLIENTS:
            secret = variables[realm.secret_variable(DIRECTORY_CLIENTS[service])]
            store.put(service, f"{prefix}_directory_client_secret", secret)
    store.put("gateway", "gateway_oidc_client_secret", variables[realm.secret_variable("portal")])
    store.put("gateway", "gateway_onboarding_client_secret", variables[realm.secret_variable("onboarding")])
    store.put("gateway", "gateway_operations_kafka_password", kafka[OPERATIONS])
    store.put("gateway", "gateway_onboarding_kafka_password", kafka[ONBOARDING])
    store.once("gateway", "gateway_session_secret", lambda: secrets.token_urlsafe(32))
    store.once("notification", "notification_webhook_seal", lambda: secrets.token_urlsafe(32))
    sms = store.once("notification", "notification_sms_token")
    if demo:
        store.put("mailbox", "mailbox_sms_token", sms)
    for hospital in hospitals:
        client = edge_principal(hospital)
        store.put(f"edge-agent-{hospital}", "edge_agent_kafka_password", kafka[client])
        store.put(f"edge-agent-{hospital}", "edge_agent_oidc_client_secret", variables[realm.secret_variable(client)])
    for organisation in organisations:
        client = ehr_principal(organisation)
        store.put(client, "ehr_kafka_password", kafka[client])
        store.put(client, "ehr_client_secret", variables[realm.secret_variable(client)])
        store.put(client, "ca.pem", RegionCa.of(folder / "authority").path.read_text())
    renew_certificates(folder, hospitals, hosts or {})


def renew_certificates(folder: Path, hospitals: Sequence[str], hosts: Mapping[str, Sequence[str]]) -> list[str]:
    """Issue the certificates that are missing or end within a month, to Kafka, the doors and the edge agents; whose.

    Services read theirs again while they run; Kafka's counts from its next start on.
    """
    store = SecretFolder(folder)
    authority = RegionCa.of(folder / "authority")
    issued: list[str] = []
    if _ends_soon(folder / "servers" / "kafka.pem"):
        broker = authority.server("kafka", ["kafka", *hosts.get("kafka", ()), "localhost", "127.0.0.1"])
        store.put("servers", "kafka.pem", broker.key.read_text() + broker.cert.read_text())
        issued.append("kafka")
    for door in DOORS:
        if _ends_soon(folder / door / "tls.pem"):
            _keep(store, door, authority.server(door, [door, *hosts.get(door, ()), "localhost", "127.0.0.1"]))
            issued.append(door)
    for hospital in hospitals:
        place = f"edge-agent-{hospital}"
        if _ends_soon(folder / place / "tls.pem"):
            _keep(store, place, authority.edge(hospital, [hospital.upper()], hosts=[place, "localhost", "127.0.0.1"]))
            issued.append(place)
    store.put("gateway", "authority.pem", authority.path.read_text())
    store.put("gateway", "authority.key", authority.key_path.read_text())
    return issued


def mongo_url(user: str, password: str, members: str, replica_set: str) -> str:
    """The connection address of a user of the database `admin`."""
    return f"mongodb://{quote(user)}:{quote(password)}@{members}/?replicaSet={replica_set}&authSource=admin"


def _servers(store: SecretFolder, mongodb: str, replica_set: str) -> None:
    kafka = store.once("servers", "kafka_admin_password")
    store.put("servers", "kafka_jaas.conf", KAFKA_LOGIN.format(user=KAFKA_ADMIN, password=kafka))
    root = store.once("servers", "mongo_root_password")
    store.once("servers", "mongo_replica_key", lambda: secrets.token_hex(64))
    user = store.once("servers", "minio_root_user", lambda: "root-user")
    administrators = {
        "kafka_password": kafka,
        "mongo_url": mongo_url("root", root, mongodb, replica_set),
        "minio_access_key": user,
        "minio_secret_key": store.once("servers", "minio_root_password"),
    }
    for place, prefix in (("setup", "setup"), ("operate", "region")):
        for name, secret in administrators.items():
            store.put(place, f"{prefix}_{name}", secret)
    store.put("setup", "setup_keycloak_password", store.once("servers", "keycloak_admin_password"))
    store.once("servers", "grafana_admin_password")


def _password(_: str) -> str:
    return secrets.token_urlsafe(24)


def _keep(store: SecretFolder, place: str, issued: Certificate) -> None:
    """Key first: until the certificate is there, too, the pair that was loaded serves on."""
    for name, path in (("tls.key", issued.key), ("tls.pem", issued.cert), ("ca.pem", issued.ca)):
        store.put(place, name, path.read_text())


def _ends_soon(path: Path) -> bool:
    if not path.exists():
        return True
    end = x509.load_pem_x509_certificates(path.read_bytes())[0].not_valid_after_utc
    return end - datetime.now(UTC) < max(RENEW_BEFORE, timedelta(days=1))
