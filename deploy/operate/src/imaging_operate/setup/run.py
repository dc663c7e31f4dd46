"""`region setup`: waits for each server that has an address, and sets it up."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
from confluent_kafka import KafkaException
from minio.error import MinioException
from pymongo import MongoClient
from pymongo.errors import ConnectionFailure
from urllib3.exceptions import HTTPError

from imaging_common.messaging.administration import Way, connect
from imaging_operate.setup import kafka, minio, mongo, realm
from imaging_operate.setup.settings import SetupSettings
from imaging_operate.topology import kafka_plan

RETRY_SECONDS = 1.0
AWAY = (KafkaException, ConnectionFailure, HTTPError, httpx.TransportError)
"""How the clients say that nobody answers (yet)."""

Step = Callable[[SetupSettings], Awaitable[str]]
Say = Callable[[str], None]


class SetupFailed(Exception):
    """A server could not be set up; the text says which and why."""


async def run_setup(settings: SetupSettings, say: Say) -> None:
    """Set up every server that has an address, in any order, at once.

    Parameters
    ----------
    say
        Gets a line for each server that is ready.

    Raises
    ------
    SetupFailed
        With the servers that could not be set up.
    """
    steps: list[tuple[str, bool, Step]] = [
        ("Kafka", bool(settings.kafka_bootstrap), _kafka),
        ("MongoDB", bool(settings.mongo_url.get_secret_value()), _mongo),
        ("MinIO", bool(settings.minio_endpoint), _minio),
        ("Keycloak", bool(settings.keycloak_url), _keycloak),
    ]
    chosen = [(name, step) for name, given, step in steps if given]
    if not chosen:
        raise SetupFailed("no server has an address: set SETUP_KAFKA_BOOTSTRAP, SETUP_MONGO_URL, …")
    outcomes = await asyncio.gather(*(_patiently(name, step, settings, say) for name, step in chosen))
    if failed := [outcome for outcome in outcomes if outcome]:
        raise SetupFailed("; ".join(failed))


async def _patiently(name: str, step: Step, settings: SetupSettings, say: Say) -> str:
    """Do it, again while nobody answers; empty, or why it failed."""
    deadline = time.monotonic() + settings.wait_seconds
    while True:
        try:
            say(f"{name}: {await step(settings)}")
        except AWAY as error:
            if time.monotonic() > deadline:
                return f"{name} did not answer for {settings.wait_seconds:.0f} s: {type(error).__name__} {error}"
            await asyncio.sleep(RETRY_SECONDS)
        except Exception as error:
            return f"{name}: {type(error).__name__} {error}"
        else:
            return ""


async def _kafka(settings: SetupSettings) -> str:
    topics, acls = kafka_plan(settings.hospitals, settings.organisations, settings.topics_dir)
    users = {name: password.get_secret_value() for name, password in settings.kafka_users.items()}
    way = Way(settings.kafka_mechanism, settings.kafka_tls, settings.kafka_ca)

    def act() -> None:
        password = settings.kafka_password.get_secret_value()
        admin = connect(settings.kafka_bootstrap, settings.kafka_username, password, way)
        kafka.ensure_kafka(admin, topics, acls, users, replication=settings.kafka_replication)

    await asyncio.to_thread(act)
    return f"{len(topics)} topics, {len(acls)} permissions, {len(users)} users in force"


async def _mongo(settings: SetupSettings) -> str:
    users = {name: password.get_secret_value() for name, password in settings.mongo_users.items()}

    def act() -> None:
        url = settings.mongo_url.get_secret_value()
        if settings.mongo_replica_set:
            name, _, member = settings.mongo_replica_set.partition("/")
            # a member that has no set yet is none of the set that the address names
            with _mongo_client(url, directConnection=True, replicaSet=None) as client:
                mongo.initiate_replica_set(client, name, member)
        with _mongo_client(url) as client:
            client.admin.command("ping")
            if users:
                mongo.ensure_users(client, users)

    await asyncio.to_thread(act)
    return f"{len(users)} users with their rights"


def _mongo_client(url: str, **options: Any) -> mongo.Client:
    return MongoClient[dict[str, Any]](url, timeoutMS=30_000, **options)


async def _minio(settings: SetupSettings) -> str:
    key = (settings.minio_access_key, settings.minio_secret_key.get_secret_value())
    users = {name: (access, secret.get_secret_value()) for name, (access, secret) in settings.minio_users.items()}

    def act() -> None:
        minio.ensure_buckets(settings.minio_endpoint, key, secure=settings.minio_secure)
        if users:
            minio.ensure_users(settings.minio_endpoint, key, users, secure=settings.minio_secure)

    try:
        await asyncio.to_thread(act)
    except MinioException as error:
        raise SetupFailed(str(error)[:300]) from error
    return f"buckets, {len(users)} users with their policies"


async def _keycloak(settings: SetupSettings) -> str:
    wanted = realm.build_realm(settings.variables(), settings.hospitals, settings.organisations)
    password = settings.keycloak_password.get_secret_value()
    return await realm.ensure_realm(settings.keycloak_url, settings.keycloak_username, password, wanted)
