"""Kafka, MongoDB and MinIO as local processes with the region's users."""

import asyncio
import secrets
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pymongo import MongoClient

from imaging_common.messaging.administration import connect
from imaging_common.messaging.permissions import Acl, Topic
from imaging_native.fetch import Installed
from imaging_native.ports import free_port
from imaging_native.process import START_DEADLINE_SECONDS, LocalProcess, StartFailed, http_ready, port_ready
from imaging_operate.setup import kafka, minio, mongo
from imaging_operate.topology import DATABASES, KAFKA_ADMIN, bucket_policies


class Kafka:
    """One KRaft node with SASL/SCRAM and ACLs.

    Parameters
    ----------
    edge_advertised_port
        Where edge agents are told to come, when something stands between; 0: where the broker listens.
    """

    def __init__(
        self, installed: Installed, folder: Path, principals: list[str], edge_advertised_port: int = 0
    ) -> None:
        self.passwords = {name: secrets.token_urlsafe(18) for name in (KAFKA_ADMIN, *principals)}
        self.port, self.edge_port, self._controller_port = free_port(), free_port(), free_port()
        self.bootstrap = f"127.0.0.1:{self.port}"
        self._edge_advertised = edge_advertised_port or self.edge_port
        self.edge_bootstrap = f"127.0.0.1:{self._edge_advertised}"
        self._classpath = f"{installed.kafka_libs}/*"
        self._folder = folder
        self.process = LocalProcess(
            "kafka",
            ["java", "-Xms256m", "-Xmx384m", "-XX:+UseG1GC", "-cp", self._classpath, "kafka.Kafka",
             str(folder / "kafka.properties")],
            {},
            folder,
            port_ready(self.port),
        )  # fmt: skip

    def _properties(self) -> dict[str, str]:
        """The broker's settings."""
        login = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        return {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{self._controller_port}",
            "listeners": f"INTERNAL://127.0.0.1:{self.port},EDGE://127.0.0.1:{self.edge_port},"
            f"CONTROLLER://127.0.0.1:{self._controller_port}",
            "advertised.listeners": f"INTERNAL://127.0.0.1:{self.port},EDGE://127.0.0.1:{self._edge_advertised}",
            "listener.security.protocol.map": "INTERNAL:SASL_PLAINTEXT,EDGE:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "INTERNAL",
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-512",
            "listener.name.internal.scram-sha-512.sasl.jaas.config": login.replace(
                ";", f' username="admin" password="{self.passwords["admin"]}";'
            ),
            "listener.name.edge.scram-sha-512.sasl.jaas.config": login,
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:admin;User:ANONYMOUS",
            "allow.everyone.if.no.acl.found": "false",
            "auto.create.topics.enable": "false",
            "group.initial.rebalance.delay.ms": "0",
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "8",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "message.max.bytes": str(8 * 1024 * 1024),
            "log.dirs": str(self._folder / "kafka"),
        }

    async def start(self) -> None:
        """Format the log folder with the administrator, and start."""
        path = self._folder / "kafka.properties"
        path.touch(mode=0o600)
        path.write_text("".join(f"{name}={value}\n" for name, value in self._properties().items()))
        administrator = f"SCRAM-SHA-512=[name={KAFKA_ADMIN},password={self.passwords[KAFKA_ADMIN]}]"
        done = await asyncio.to_thread(
            subprocess.run,
            ["java", "-cp", self._classpath, "kafka.tools.StorageTool", "format", "-t", "5L6g3nShT-eMCtK--X86sw",
             "-c", str(path), "--add-scram", administrator],
            check=False, capture_output=True, text=True, timeout=START_DEADLINE_SECONDS,
        )  # fmt: skip
        if done.returncode:  # not `check`: its error would show the passwords
            raise StartFailed(f"kafka's folder could not be formatted:\n{(done.stdout + done.stderr)[-2000:]}")
        await self.process.start()

    async def set_up(self, topics: Sequence[Topic], acls: Sequence[Acl]) -> None:
        """Make topics, permissions and users."""
        admin = connect(self.bootstrap, KAFKA_ADMIN, self.passwords[KAFKA_ADMIN])
        users = {name: password for name, password in self.passwords.items() if name != KAFKA_ADMIN}
        await asyncio.to_thread(kafka.ensure_kafka, admin, topics, acls, users, replication=1)


class MongoDb:
    """One member of a replica set, with a user per service."""

    def __init__(self, installed: Installed, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self.passwords = {name: secrets.token_urlsafe(18) for name in ("root", *DATABASES)}
        self.process = LocalProcess(
            "mongodb",
            [str(installed.mongod), "--replSet", "rs0", "--port", str(self.port), "--bind_ip", "127.0.0.1", "--dbpath",
             str(folder / "mongodb"), "--keyFile", str(folder / "mongodb.key"), "--wiredTigerCacheSizeGB", "0.5",
             "--nounixsocket", "--setParameter", "transactionLifetimeLimitSeconds=5", "--quiet"],
            {},
            folder,
            port_ready(self.port),
        )  # fmt: skip

    def url(self, user: str) -> str:
        """The connection address of a user; all of them live in the database `admin`."""
        return f"mongodb://{user}:{self.passwords[user]}@127.0.0.1:{self.port}/?replicaSet=rs0&authSource=admin"

    async def start(self) -> None:
        """Start, initiate the replica set, make the users."""
        (self._folder / "mongodb").mkdir()
        key = self._folder / "mongodb.key"
        key.touch(mode=0o600)
        key.write_text(secrets.token_urlsafe(64).replace("-", "a").replace("_", "b"))
        await self.process.start()
        await asyncio.to_thread(self._set_up)

    def _set_up(self) -> None:
        address = f"127.0.0.1:{self.port}"
        with MongoClient[dict[str, Any]](f"mongodb://{address}/?directConnection=true", timeoutMS=60_000) as client:
            mongo.initiate_replica_set(client, "rs0", address)
            mongo.ensure_user(client, "root", self.passwords["root"], ["root"])
        with MongoClient[dict[str, Any]](self.url("root"), timeoutMS=30_000) as client:
            mongo.ensure_users(client, self.passwords)


class MinioServer:
    """One drive, three buckets, a user per service that needs one."""

    def __init__(self, installed: Installed, folder: Path) -> None:
        self.port = free_port()
        self.endpoint = f"127.0.0.1:{self.port}"
        self._folder = folder
        self.credentials = {name: (name, secrets.token_urlsafe(24)) for name in ("root-user", *bucket_policies())}
        access, secret = self.credentials["root-user"]
        self.process = LocalProcess(
            "minio",
            [str(installed.minio), "server", str(folder / "minio"), "--address", self.endpoint, "--console-address",
             f"127.0.0.1:{free_port()}", "--quiet"],
            {"MINIO_ROOT_USER": access, "MINIO_ROOT_PASSWORD": secret, "MINIO_BROWSER": "off", "MINIO_UPDATE": "off"},
            folder,
            http_ready(f"http://{self.endpoint}/minio/health/live"),
        )  # fmt: skip

    async def start(self) -> None:
        """Start, make buckets and users."""
        await self.process.start()
        await asyncio.to_thread(self._set_up)

    def _set_up(self) -> None:
        root = self.credentials["root-user"]
        minio.ensure_buckets(self.endpoint, root, secure=False)
        minio.ensure_users(self.endpoint, root, self.credentials, secure=False)
