"""A region with four hospitals as local processes: servers, services, their users and addresses."""

import asyncio
import json
import os
import secrets
import shutil
import ssl
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pymongo import AsyncMongoClient

from imaging_common.messaging.permissions import ONBOARDING, OPERATIONS, SERVICES, ehr_principal
from imaging_common.tls import client_context
from imaging_native.backends import chosen_backends
from imaging_native.fetch import Installed, cache_folder, fetch_all
from imaging_native.guard import guard
from imaging_native.link import EdgeLink
from imaging_native.pacs import DcmqrscpPacs, OrthancPacs
from imaging_native.ports import free_port
from imaging_native.process import CENTRE_NICENESS, LocalProcess, http_ready
from imaging_operate.certificates import RegionCa
from imaging_operate.setup.realm import build_realm, secret_variable
from imaging_operate.topology import DATABASES, DIRECTORY_CLIENTS, DOORS, kafka_plan, kafka_principals

HOSPITALS: dict[str, dict[str, str]] = {
    "community": {"name_zh": "塘桥社区卫生服务中心", "name_en": "Tangqiao Community Hospital", "level": "community"},
    "secondary": {"name_zh": "第一人民医院", "name_en": "First People's Hospital", "level": "secondary"},
    "tertiary": {"name_zh": "市中心医院", "name_en": "City Central Hospital", "level": "tertiary"},
    "tcm": {"name_zh": "中医医院", "name_en": "Hospital of Traditional Chinese Medicine", "level": "secondary"},
}
OUTSIDE: dict[str, dict[str, str]] = {
    "outside": {"name_zh": "省人民医院（区域外）", "name_en": "Provincial Hospital (outside)", "level": "outside"}
}
"""Hospitals outside the region: their experts sign in at the portal; they have no edge agent and no images here."""
PACS_HOSPITALS: dict[str, type[OrthancPacs] | type[DcmqrscpPacs]] = {"tertiary": OrthancPacs, "tcm": DcmqrscpPacs}
"""The hospitals whose images stay in their own PACS (distributed tier): one with DICOMweb, one without."""
READING_STATIONS = ("community",)
"""Hospitals without a PACS whose station (Orthanc) takes the reports of consults; nothing in it is watched."""
ORGANISATION = "residents"
EHR_CLIENT = "ehr-residents"
USERS: dict[str, tuple[str, str, list[str]]] = {
    "doctor.community": ("DOCTOR_PASSWORD", "community", ["doctor"]),
    "expert.secondary": ("EXPERT_PASSWORD", "secondary", ["doctor", "expert"]),
    "doctor.tertiary": ("DOCTOR_TERTIARY_PASSWORD", "tertiary", ["doctor", "expert"]),
    "doctor.tcm": ("DOCTOR_TCM_PASSWORD", "tcm", ["doctor"]),
    "coordinator.secondary": ("COORDINATOR_PASSWORD", "secondary", ["coordinator"]),
    "operator.community": ("OPERATOR_COMMUNITY_PASSWORD", "community", ["hospital-operator"]),
    "expert.outside": ("EXPERT_OUTSIDE_PASSWORD", "outside", ["expert"]),
    "chief.secondary": ("CHIEF_SECONDARY_PASSWORD", "secondary", ["doctor", "expert"]),
    "expert.tertiary": ("EXPERT_TERTIARY_PASSWORD", "tertiary", ["doctor", "expert"]),
    "coordinator.tertiary": ("COORDINATOR_TERTIARY_PASSWORD", "tertiary", ["coordinator"]),
    "auditor.region": ("AUDITOR_PASSWORD", "", ["auditor"]),
    "operator.region": ("OPERATOR_PASSWORD", "", ["region-operator"]),
}
EDGES = [f"edge-agent-{hospital}" for hospital in HOSPITALS]
ALL_SERVICES = [*SERVICES, *EDGES]
DEMO_QUIET_SECONDS = "2"
"""Short, so that the story does not wait for a study to be called settled."""
DEMO_SWEEP_SECONDS = "3"
DEMO_PACS_TIMEOUT_SECONDS = "8"
DEMO_CHAIN = {
    "email": {"routine": 4, "urgent": 2, "emergency": 0},
    "sms": {"routine": None, "urgent": 8, "emergency": 4},
}
"""Seconds in which a notice is to be seen in the portal, before e-mail and text messages go out."""
SECURE_HOSPITAL, MODALITY_AE_TITLE = "community", "CT1"
"""Its edge agent speaks DIMSE over TLS, too; a modality there has a certificate for this AE title."""
WORKSTATION_AE_TITLE = "WORKSTATION"
DEMO_SEAL_SECONDS = "6"
DEMO_USAGE_SECONDS = "10"
DEMO_CACHE_BYTES = str(4 * 1024**3)
"""Long enough for the story to see frames from staging before the pack is made."""


class Region:
    """`async with Region() as region`: everything runs and is ready; on leaving every process has ended."""

    def __init__(
        self,
        *,
        services: Iterable[str] = ALL_SERVICES,
        gateways: int = 1,
        otlp_endpoint: str = "",
        keycloak: bool = True,
        breakable_link: bool = False,
        edge_settings: Mapping[str, str] | None = None,
    ) -> None:
        installed: Installed = fetch_all()
        self.folder = Path(tempfile.mkdtemp(prefix="region-"))
        guard().remove(self.folder)
        self._service_names = list(services)
        self._edge_settings = dict(edge_settings or {})
        self._with_keycloak = keycloak
        self._otlp_endpoint = otlp_endpoint
        self._installed = installed
        self.link = EdgeLink(installed, self.folder) if breakable_link else None
        edge_port = self.link.ports["kafka"] if self.link else 0
        backends = chosen_backends()
        principals = kafka_principals(list(HOSPITALS), [ORGANISATION])
        self.kafka = backends.kafka(installed, self.folder, principals, edge_port)
        self.mongodb = backends.mongodb(installed, self.folder)
        self.minio = backends.minio(installed, self.folder)
        self.keycloak = backends.keycloak(installed.keycloak, self.folder)
        self._ports = {name: free_port() for name in ALL_SERVICES}
        self._dimse_ports = {hospital: free_port() for hospital in HOSPITALS}
        self._services_ports = {hospital: free_port() for hospital in HOSPITALS}
        self._mllp_ports = {hospital: free_port() for hospital in HOSPITALS}
        self._move_ports = {hospital: free_port() for hospital in PACS_HOSPITALS}
        self._workstation_port = free_port()
        self.pacs = {
            hospital: make(hospital, self.folder, self._peers_of(hospital))
            for hospital, make in PACS_HOSPITALS.items()
            if f"edge-agent-{hospital}" in self._service_names
        }
        self.archives = {
            hospital: OrthancPacs(hospital, self.folder, {})
            for hospital in READING_STATIONS
            if f"edge-agent-{hospital}" in self._service_names
        }
        self._secrets = {f"edge-{hospital}": secrets.token_urlsafe(24) for hospital in HOSPITALS}
        self._secrets |= {
            name: secrets.token_urlsafe(32)
            for name in (
                "portal",
                *DIRECTORY_CLIENTS.values(),
                "ehr-residents",
                "onboarding",
                "session",
                "sms",
                "webhooks",
            )
        }
        self._user_passwords = {user: secrets.token_urlsafe(12) for user in USERS}
        self.ca = RegionCa(self.folder / "pki")
        self.certificates = {
            hospital: self.ca.edge(hospital, [hospital.upper()], hosts=["127.0.0.1", "localhost"])
            for hospital in HOSPITALS
        }
        self.modality = self.ca.edge(SECURE_HOSPITAL, [MODALITY_AE_TITLE], name="modality", hosts=())
        self._tls_ports = {name: free_port() for name in DOORS}
        self._secure_ports = {"dimse_tls_port": free_port(), "services_tls_port": free_port()}
        self._ehr_port = free_port()
        self._mail_ports = {"smtp": free_port(), "http": free_port()}
        self.mailbox = self._mail_process()
        self._second_gateways = [free_port() for _ in range(gateways - 1)]
        self.processes: dict[str, LocalProcess] = {}
        self._clients: list[AsyncMongoClient[dict[str, Any]]] = []

    @property
    def portal(self) -> str:
        """The portal's address."""
        return self.url("gateway")

    def url(self, service: str) -> str:
        """A service's HTTP address."""
        return f"http://127.0.0.1:{self._ports[service]}"

    @property
    def ehr(self) -> str:
        """The EHR stand-in's address: to browsers another site than the portal's."""
        return f"http://localhost:{self._ehr_port}"

    def client_secret(self, client_id: str) -> str:
        """The secret of a confidential client of the realm."""
        return self._secrets[client_id]

    def edge_tls(self, hospital: str) -> ssl.SSLContext:
        """How a hospital's edge agent speaks TLS (its requests name its AE title, too: see `imaging_native.edges`)."""
        return client_context(self.certificates[hospital].files)

    def client(self, user: str) -> AsyncMongoClient[dict[str, Any]]:
        """A MongoDB client with the rights of a service or of `root`; closed with the region."""
        client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
            self.mongodb.url(user), tz_aware=True, timeoutMS=10_000
        )
        self._clients.append(client)
        return client

    @property
    def state(self) -> dict[str, Any]:
        """Addresses, users, Kafka credentials and process ids: what `REGION_STATE` gets."""
        access, secret = self.minio.credentials["root-user"]
        return {
            "portal": self.portal,
            "gateways": [self.portal, *(f"http://127.0.0.1:{port}" for port in self._second_gateways)],
            "keycloak": self.keycloak.url,
            "issuer": self.keycloak.issuer,
            "kafka": {"bootstrap": self.kafka.bootstrap, "users": self.kafka.passwords},
            "users": {
                user: {"password": self._user_passwords[user], "hospital": hospital, "roles": roles}
                for user, (_, hospital, roles) in USERS.items()
            },
            "edges": {
                hospital: {
                    "ae_title": hospital.upper(),
                    "host": "127.0.0.1",
                    "dimse_port": self._dimse_ports[hospital],
                    "http": self.url(f"edge-agent-{hospital}"),
                    "client_id": f"edge-{hospital}",
                    "client_secret": self._secrets[f"edge-{hospital}"],
                    "services_port": self._services_ports[hospital],
                    "mllp_port": self._mllp_ports[hospital],
                }
                for hospital in HOSPITALS
            },
            "pacs": {hospital: _pacs_state(pacs) for hospital, pacs in self.pacs.items()},
            "archives": {hospital: _pacs_state(one) for hospital, one in self.archives.items()},
            "workstation": {"ae_title": WORKSTATION_AE_TITLE, "port": self._workstation_port},
            "ehr": {"client_id": EHR_CLIENT, "client_secret": self._secrets[EHR_CLIENT], "url": self.ehr},
            "ingest": self.url("dicom-ingest"),
            "ingest_tls": self._edge_url("dicom-ingest"),
            "doors": {name: self._edge_url(name) for name in DOORS},
            "pki": {
                "ca": str(self.ca.path),
                "edges": {h: [str(c.cert), str(c.key)] for h, c in self.certificates.items()},
                "modality": {
                    "hospital": SECURE_HOSPITAL,
                    "ae_title": MODALITY_AE_TITLE,
                    "cert": str(self.modality.cert),
                    "key": str(self.modality.key),
                    **self._secure_ports,
                },
            },
            "consult": self.url("consult"),
            "notification": self.url("notification"),
            "mail": {"smtp_port": self._mail_ports["smtp"], "http": f"http://127.0.0.1:{self._mail_ports['http']}"},
            "audit": self.url("audit"),
            "mongo": {"url": self.mongodb.url("root"), "urls": {name: self.mongodb.url(name) for name in DATABASES}},
            "minio": {"endpoint": self.minio.endpoint, "access_key": access, "secret_key": secret},
            "services": {name: self.url(name) for name in ALL_SERVICES if name in self.processes},
            "pids": {name: process.pid for name, process in self.processes.items()},
            "folder": str(self.folder),
        }

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    async def _start(self) -> None:
        servers = [self.kafka.process, self.mongodb.process, self.minio.process, self.mailbox]
        starts = [self.kafka.start(), self.mongodb.start(), self.minio.start(), self.mailbox.start()]
        if self._with_keycloak:
            servers.append(self.keycloak.process)
            starts.append(self.keycloak.start(self._realm()))
        if self.link is not None:
            servers.append(self.link.process)
            starts.append(
                self.link.start(
                    {
                        "kafka": self.kafka.edge_port,
                        **self._tls_ports,
                    }
                )
            )
        for pacs in (*self.pacs.values(), *self.archives.values()):
            pacs.prepare()
            servers.append(pacs.process)
            starts.append(pacs.process.start())
        self.processes |= {process.name: process for process in servers}
        started = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for start in starts:
                group.create_task(start)
        print(f"servers ready after {time.monotonic() - started:.1f} s", flush=True)
        await self.kafka.set_up(*kafka_plan(list(HOSPITALS), [ORGANISATION]))
        await self.start_services(self._service_names)

    async def start_services(self, names: Iterable[str]) -> None:
        """Start these services, and return when they are ready; with the gateway its copies and the EHR stand-in."""
        started, before, names = time.monotonic(), set(self.processes), list(names)
        for name in names:
            self._add(name, self._ports[name])
        if "gateway" in names:
            for number, port in enumerate(self._second_gateways, start=2):
                self._add("gateway", port, f"gateway-{number}")
            if self._with_keycloak:
                self._add_ehr()
        services = [process for name, process in self.processes.items() if name not in before]
        for process in services:
            process.launch()
        async with asyncio.TaskGroup() as group:
            for process in services:
                group.create_task(process.wait_ready())
        if services:
            print(f"{len(services)} services ready after {time.monotonic() - started:.1f} s", flush=True)

    async def _stop(self) -> None:
        for client in self._clients:
            await client.close()
        servers = {
            "kafka",
            "mongodb",
            "minio",
            "keycloak",
            "edge-link",
            "mailbox",
            *(pacs.process.name for pacs in (*self.pacs.values(), *self.archives.values())),
        }
        services = [process for name, process in self.processes.items() if name not in servers]
        await asyncio.gather(*(process.stop() for process in services), return_exceptions=True)
        rest = [process for name, process in self.processes.items() if name in servers]
        await asyncio.gather(*(process.stop() for process in rest), return_exceptions=True)
        if logs := os.environ.get("REGION_LOGS"):
            await asyncio.to_thread(self._keep_logs, Path(logs))
        shutil.rmtree(self.folder, ignore_errors=True)

    def _keep_logs(self, target: Path) -> None:
        target.mkdir(parents=True, exist_ok=True)
        for log in self.folder.glob("*.log"):
            shutil.copy(log, target / log.name)

    async def kill(self, name: str) -> None:
        """SIGKILL a process by its name."""
        self.processes[name].kill()

    async def restart(self, name: str) -> None:
        """Start a process again that was killed, at the same ports and with the same data."""
        await self.processes[name].start()

    async def add_copy(self, service: str, name: str, **settings: str) -> str:
        """Start a further copy of a service, with these variables over its own settings; its address."""
        port = free_port()
        self._add(service, port, name)
        self.processes[name].extra_env = dict(settings)
        await self.processes[name].start()
        return f"http://127.0.0.1:{port}"

    def _add(self, service: str, port: int, name: str | None = None) -> None:
        package = "edge_agent" if service.startswith("edge-agent-") else service.replace("-", "_")
        prefix = package.upper() + "_"
        settings = {**self._common(service, port), **self._own(service), **self._tls(service, name)}
        self.processes[name or service] = LocalProcess(
            name or service,
            [sys.executable, "-m", package],
            {prefix + key.upper(): value for key, value in settings.items()} | _bytecode(),
            self.folder,
            http_ready(f"http://127.0.0.1:{port}/health/ready"),
            0 if service in EDGES else CENTRE_NICENESS,
        )

    def _add_ehr(self) -> None:
        """The EHR stand-in: outside of the region, with nothing but its own credentials."""
        settings = {
            "http_port": str(self._ehr_port),
            "public_url": self.ehr,
            "portal_url": self.portal,
            "organisation": ORGANISATION,
            "client_id": EHR_CLIENT,
            "client_secret": self._secrets[EHR_CLIENT],
            "oidc_issuer": self.keycloak.issuer,
            "kafka_bootstrap": self.kafka.bootstrap,
            "kafka_username": ehr_principal(ORGANISATION),
            "kafka_password": self.kafka.passwords[ehr_principal(ORGANISATION)],
        }
        self.processes["ehr-standin"] = LocalProcess(
            "ehr-standin",
            [sys.executable, "-m", "imaging_native.ehr_standin"],
            {f"EHR_{key.upper()}": value for key, value in settings.items()} | _bytecode(),
            self.folder,
            http_ready(f"http://127.0.0.1:{self._ehr_port}/health/ready"),
        )

    def _mail_process(self) -> LocalProcess:
        """The mail server and SMS gateway of this machine."""
        settings = {
            "smtp_port": str(self._mail_ports["smtp"]),
            "http_port": str(self._mail_ports["http"]),
            "folder": str(self.folder / "mailbox"),
            "sms_token": self._secrets["sms"],
        }
        return LocalProcess(
            "mailbox",
            [sys.executable, "-m", "imaging_native.mailbox"],
            {f"MAILBOX_{key.upper()}": value for key, value in settings.items()} | _bytecode(),
            self.folder,
            http_ready(f"http://127.0.0.1:{self._mail_ports['http']}/health/ready"),
        )

    def _common(self, service: str, port: int) -> dict[str, str]:
        edge = service.startswith("edge-agent-")
        principal = service.replace("edge-agent-", "edge-") if edge else service
        common = {
            "http_port": str(port),
            "kafka_bootstrap": self.kafka.edge_bootstrap if edge else self.kafka.bootstrap,
            "kafka_username": principal,
            "kafka_password": self.kafka.passwords[principal],
            "oidc_issuer": self.keycloak.issuer,
            "otlp_endpoint": self._otlp_endpoint,
        }
        if service in DIRECTORY_CLIENTS:
            common["directory_client_id"] = DIRECTORY_CLIENTS[service]
            common["directory_client_secret"] = self._secrets[DIRECTORY_CLIENTS[service]]
        if service in DATABASES:
            common["mongo_url"] = self.mongodb.url(service)
        if service in self.minio.credentials:
            access, secret = self.minio.credentials[service]
            common |= {
                "minio_endpoint": self.minio.endpoint,
                "minio_access_key": access,
                "minio_secret_key": secret,
            }
        return common

    def _own(self, service: str) -> dict[str, str]:
        if service.startswith("edge-agent-"):
            hospital = service.removeprefix("edge-agent-")
            spool = self.folder / f"spool-{hospital}"
            spool.mkdir(exist_ok=True)
            return {
                "hospital": hospital,
                "ae_title": hospital.upper(),
                "dimse_port": str(self._dimse_ports[hospital]),
                "allowed_callers": "*@127.0.0.1",
                "spool_dir": str(spool),
                "quiet_seconds": DEMO_QUIET_SECONDS,
                "ingest_url": self._edge_url("dicom-ingest"),
                "oidc_client_id": f"edge-{hospital}",
                "oidc_client_secret": self._secrets[f"edge-{hospital}"],
                "services_port": str(self._services_ports[hospital]),
                "workstations": f"{WORKSTATION_AE_TITLE}@127.0.0.1:{self._workstation_port}",
                "gateway_url": self._edge_url("gateway"),
                "mllp_port": str(self._mllp_ports[hospital]),
                **self.certificates[hospital].settings(),
                **({k: str(p) for k, p in self._secure_ports.items()} if hospital == SECURE_HOSPITAL else {}),
                **self._own_pacs(hospital),
                **self._edge_settings,
            }
        hospitals = [
            {"hospital": h, "tier": "distributed" if h in PACS_HOSPITALS else "central", **names}
            for h, names in (HOSPITALS | OUTSIDE).items()
        ]
        return {
            "object-writer": {
                "seal_quiet_seconds": DEMO_SEAL_SECONDS,
                "cache_bytes": DEMO_CACHE_BYTES,
                "usage_seconds": DEMO_USAGE_SECONDS,
            },
            "indexer": {"quiet_seconds": DEMO_QUIET_SECONDS},
            "dicom-ingest": {"dicomweb_url": f"{self.portal}/dicomweb"},
            "consult": {
                "dicomweb_url": f"{self.portal}/dicomweb",
                "portal_url": self.portal,
                "ingest_url": self.url("dicom-ingest"),
            },
            "gateway": {
                "public_url": self.portal,
                "oidc_client_id": "portal",
                "oidc_client_secret": self._secrets["portal"],
                "session_secret": self._secrets["session"],
                "consult_url": self.url("consult"),
                "notification_url": self.url("notification"),
                "ingest_url": self.url("dicom-ingest"),
                "audit_url": self.url("audit"),
                "ohif_dir": str(self._installed.ohif),
                **self._operating(),
                "hospitals": json.dumps(hospitals, ensure_ascii=False),
                "ehrs": json.dumps(
                    [
                        {
                            "client_id": EHR_CLIENT,
                            "origins": [self.ehr],
                            "iss": f"{self.ehr}/fhir",
                            "smart_client_id": "regional-portal",
                        }
                    ]
                ),
            },
            "notification": {
                "organisations": json.dumps([{"id": ORGANISATION, "hospitals": list(HOSPITALS)}]),
                "webhook_seal": self._secrets["webhooks"],
                "webhook_http": "true",
                "webhook_networks": json.dumps(["127.0.0.0/8"]),
                **self._telling(),
            },
        }.get(service, {})

    def _telling(self) -> dict[str, str]:
        """How the notification service reaches people."""
        return {
            "portal_url": self.portal,
            "smtp_host": "127.0.0.1",
            "smtp_port": str(self._mail_ports["smtp"]),
            "smtp_tls": "none",
            "sms_url": f"http://127.0.0.1:{self._mail_ports['http']}/sms",
            "sms_token": self._secrets["sms"],
            "chain": json.dumps(DEMO_CHAIN),
        }

    def _operating(self) -> dict[str, str]:
        """What the operators' pages of the gateway need: replay, and onboarding of hospitals."""
        return {
            "operations_kafka_username": OPERATIONS,
            "operations_kafka_password": self.kafka.passwords[OPERATIONS],
            "onboarding_kafka_username": ONBOARDING,
            "onboarding_kafka_password": self.kafka.passwords[ONBOARDING],
            "onboarding_client_id": "onboarding",
            "onboarding_client_secret": self._secrets["onboarding"],
            "onboarding_ca_certificate": str(self.ca.path),
            "onboarding_ca_key": str(self.ca.key_path),
            "edge_kafka_bootstrap": self.kafka.edge_bootstrap,
            "edge_ingest_url": self._edge_url("dicom-ingest"),
            "edge_gateway_url": self._edge_url("gateway"),
        }

    def _tls(self, service: str, name: str | None) -> dict[str, str]:
        """Of what edge agents come to: its port for them and its certificate; a second copy has a port of its own."""
        if service not in DOORS:
            return {}
        port = free_port() if name else self._tls_ports[service]
        return {"tls_port": str(port), **self.ca.server(name or service).settings()}

    def _edge_url(self, service: str) -> str:
        """A service's address as edge agents see it: over the link that can be cut, where there is one."""
        return f"https://127.0.0.1:{self.link.ports[service] if self.link else self._tls_ports[service]}"

    def _own_pacs(self, hospital: str) -> dict[str, str]:
        """Settings of an edge agent about its hospital's PACS."""
        if station := self.archives.get(hospital):
            return {"write_back_ae_title": station.ae_title, "write_back_port": str(station.port)}
        pacs = self.pacs.get(hospital)
        if pacs is None:
            return {}
        return {
            "receivers": "1",
            "pacs_ae_title": pacs.ae_title,
            "pacs_port": str(pacs.port),
            "pacs_dicomweb_url": pacs.dicomweb_url,
            "pacs_sweep_seconds": DEMO_SWEEP_SECONDS,
            "pacs_timeout_seconds": DEMO_PACS_TIMEOUT_SECONDS,
            "pacs_backfill_per_minute": "6000",
            "pacs_header_instances_per_minute": "300",
            "move_port": str(self._move_ports[hospital]),
        }

    def _peers_of(self, hospital: str) -> dict[str, int]:
        """Where a hospital's PACS may send to: its edge agent (retrievals, forward rule) and its workstation."""
        ae_title = hospital.upper()
        return {
            ae_title: self._dimse_ports[hospital],
            f"{ae_title}_MV": self._move_ports[hospital],
            WORKSTATION_AE_TITLE: self._workstation_port,
        }

    def _realm(self) -> dict[str, Any]:
        variables = {variable: self._user_passwords[user] for user, (variable, _, _) in USERS.items()}
        variables |= {secret_variable(client): secret for client, secret in self._secrets.items()}
        variables |= {"PORTAL_URL": self.portal, "MAIL_HOST": "127.0.0.1", "MAIL_PORT": str(self._mail_ports["smtp"])}
        return build_realm(variables, list(HOSPITALS), [ORGANISATION])


def _pacs_state(pacs: OrthancPacs | DcmqrscpPacs) -> dict[str, Any]:
    return {
        "ae_title": pacs.ae_title,
        "host": "127.0.0.1",
        "dimse_port": pacs.port,
        "dicomweb": pacs.dicomweb_url,
    }


def _bytecode() -> dict[str, str]:
    """Python's compiled files go to the cache folder: without any, each process compiles its imports for 2 s."""
    return {"PYTHONPYCACHEPREFIX": str(cache_folder() / "pycache"), "PYTHONDONTWRITEBYTECODE": ""}
