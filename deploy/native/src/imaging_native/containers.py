"""The four servers as containers: the same interfaces, ports and users as the local processes.

Images are named by `KAFKA_IMAGE`, `MONGODB_IMAGE`, `MINIO_IMAGE` and `KEYCLOAK_IMAGE`; the official ones else.
"""

import asyncio
import os
import secrets
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from pymongo import MongoClient

from imaging_common.messaging.administration import Way, connect, set_password
from imaging_native.balancer import Balancer
from imaging_native.container_process import ContainerProcess, bridge_address, port_holds
from imaging_native.fetch import Installed
from imaging_native.keycloak import BUILT_FOR, JAVA_OPTIONS, Keycloak
from imaging_native.process import http_ready
from imaging_native.servers import Kafka, MinioServer, MongoDb
from imaging_operate.setup import mongo
from imaging_operate.topology import KAFKA_ADMIN

IMAGES = {
    "KAFKA_IMAGE": "apache/kafka:4.1.1",
    "MONGODB_IMAGE": "mongo:6.0",
    "MINIO_IMAGE": "minio/minio:RELEASE.2025-09-07T16-13-09Z",
    "KEYCLOAK_IMAGE": "quay.io/keycloak/keycloak:26.4.0",
}
LOGOUT = "backchannel.logout.url"
KEY_FILE = "/data/configdb/replica.key"
"""Its owner has to be MongoDB's user: the image's entry point gives everything in this folder to it."""


def image(variable: str) -> str:
    """The image that a variable names, or the official one."""
    return os.environ.get(variable) or IMAGES[variable]


class ContainerKafka(Kafka):
    """The image cannot make a SCRAM user before the first start: the administrator comes with PLAIN and makes them."""

    def __init__(
        self, installed: Installed, folder: Path, principals: list[str], edge_advertised_port: int = 0
    ) -> None:
        super().__init__(installed, folder, principals, edge_advertised_port)
        self.process = ContainerProcess(
            "kafka",
            image("KAFKA_IMAGE"),
            [],
            {"KAFKA_HEAP_OPTS": "-Xms256m -Xmx384m", **{_variable(n): v for n, v in self._properties().items()}},
            folder,
            port_holds(self.port),
            ports=[self.port, self.edge_port],
        )

    def _properties(self) -> dict[str, str]:
        properties = super()._properties()
        login = f'username="{KAFKA_ADMIN}" password="{self.passwords[KAFKA_ADMIN]}"'
        known = f'user_{KAFKA_ADMIN}="{self.passwords[KAFKA_ADMIN]}"'
        del properties["log.dirs"]
        return properties | {
            "listeners": f"INTERNAL://:{self.port},EDGE://:{self.edge_port},"
            f"CONTROLLER://127.0.0.1:{self._controller_port}",
            "sasl.enabled.mechanisms": "SCRAM-SHA-512,PLAIN",
            "sasl.mechanism.inter.broker.protocol": "PLAIN",
            "listener.name.internal.plain.sasl.jaas.config": (
                f"org.apache.kafka.common.security.plain.PlainLoginModule required {login} {known};"
            ),
            "listener.name.edge.sasl.enabled.mechanisms": "SCRAM-SHA-512",
        }

    async def start(self) -> None:
        """Start, and make the administrator's SCRAM user."""
        await self.process.start()
        admin = connect(self.bootstrap, KAFKA_ADMIN, self.passwords[KAFKA_ADMIN], Way("PLAIN"))
        await asyncio.to_thread(set_password, admin, KAFKA_ADMIN, self.passwords[KAFKA_ADMIN])


class ContainerMongoDb(MongoDb):
    """The image makes `root`; the replica set is initiated afterwards."""

    def __init__(self, installed: Installed, folder: Path) -> None:
        super().__init__(installed, folder)
        self.process = ContainerProcess(
            "mongodb",
            image("MONGODB_IMAGE"),
            ["mongod", "--replSet", "rs0", "--port", str(self.port), "--bind_ip_all", "--keyFile", KEY_FILE,
             "--wiredTigerCacheSizeGB", "0.5", "--setParameter", "transactionLifetimeLimitSeconds=5", "--quiet"],
            {"MONGO_INITDB_ROOT_USERNAME": "root", "MONGO_INITDB_ROOT_PASSWORD": self.passwords["root"]},
            folder,
            port_holds(self.port),
            ports=[self.port],
            files={KEY_FILE: secrets.token_hex(48).encode()},
        )  # fmt: skip

    async def start(self) -> None:
        """Start, initiate the replica set, make the services' users."""
        await self.process.start()
        await asyncio.to_thread(self._set_up)

    def _set_up(self) -> None:
        address = f"127.0.0.1:{self.port}"
        direct = f"mongodb://root:{quote(self.passwords['root'])}@{address}/?directConnection=true&authSource=admin"
        with MongoClient[dict[str, Any]](direct, timeoutMS=60_000) as client:
            mongo.initiate_replica_set(client, "rs0", address)
        with MongoClient[dict[str, Any]](self.url("root"), timeoutMS=30_000) as client:
            mongo.ensure_users(client, self.passwords)


class ContainerMinio(MinioServer):
    """One drive inside the container."""

    def __init__(self, installed: Installed, folder: Path) -> None:
        super().__init__(installed, folder)
        access, secret = self.credentials["root-user"]
        self.process = ContainerProcess(
            "minio",
            image("MINIO_IMAGE"),
            ["server", "/data", "--address", f":{self.port}", "--quiet"],
            {"MINIO_ROOT_USER": access, "MINIO_ROOT_PASSWORD": secret, "MINIO_BROWSER": "off", "MINIO_UPDATE": "off"},
            folder,
            http_ready(f"http://{self.endpoint}/minio/health/live"),
            ports=[self.port],
        )


class ContainerKeycloak(Keycloak):
    """In memory, as the local one; what it sends comes to this machine over the engine's network."""

    process: ContainerProcess

    def __init__(self, home: Path, folder: Path) -> None:
        super().__init__(home, folder)
        self.process = ContainerProcess(
            "keycloak",
            image("KEYCLOAK_IMAGE"),
            ["start-dev"],
            {
                **BUILT_FOR,
                "KC_HTTP_PORT": str(self.port),
                "KC_BOOTSTRAP_ADMIN_USERNAME": "admin",
                "KC_BOOTSTRAP_ADMIN_PASSWORD": self.admin_password,
                "JAVA_OPTS_APPEND": JAVA_OPTIONS,
            },
            folder,
            http_ready(f"{self.url}/realms/master"),
            ports=[self.port],
        )

    async def start(self, realm: dict[str, Any]) -> None:
        """Start, and make the realm."""
        mail = await self._door(int(realm["smtpServer"]["port"]))
        known = realm | {"smtpServer": realm["smtpServer"] | {"host": mail.host, "port": str(mail.port)}}
        known["clients"] = [await self._that_hears(client) for client in realm["clients"]]
        await super().start(known)

    async def _that_hears(self, client: dict[str, Any]) -> dict[str, Any]:
        """A client that this container can tell of ended sessions, as a process on this machine can."""
        attributes = client.get("attributes", {})
        if not (told := attributes.get(LOGOUT)):
            return client
        address = urlsplit(told)
        door = await self._door(address.port or 80)
        return client | {"attributes": attributes | {LOGOUT: f"{door.url}{address.path}"}}

    async def _door(self, port: int) -> Balancer:
        """Where containers reach a port of this machine."""
        door = Balancer(await asyncio.to_thread(bridge_address))
        door.copies = [port]
        await self.process.companions.enter_async_context(door)
        return door


def _variable(name: str) -> str:
    """A broker setting as Kafka's images take it from the environment."""
    return "KAFKA_" + name.replace("_", "__").replace("-", "___").replace(".", "_").upper()
