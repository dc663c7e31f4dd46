"""Blocking connections to a region's servers, for commands that run in the foreground."""

import contextlib
from collections.abc import Iterator
from typing import Any

import urllib3
from confluent_kafka.admin import AdminClient
from minio import Minio
from pymongo import MongoClient

from imaging_common.messaging.administration import connect, connection_options
from imaging_operate.settings import RegionSettings

Mongo = MongoClient[dict[str, Any]]
SELECTION_MS, SOCKET_MS = 5_000, 120_000


@contextlib.contextmanager
def mongo(settings: RegionSettings) -> Iterator[Mongo]:
    """MongoDB as its administrator; majority reads and writes."""
    client: Mongo = MongoClient(
        settings.mongo_url,
        tz_aware=True,
        serverSelectionTimeoutMS=SELECTION_MS,
        connectTimeoutMS=SELECTION_MS,
        socketTimeoutMS=SOCKET_MS,
        w="majority",
        readConcernLevel="majority",
    )
    with client:
        yield client


def minio(settings: RegionSettings) -> Minio:
    """The region's object store as its administrator."""
    return _minio(
        settings.minio_endpoint,
        settings.minio_access_key,
        settings.minio_secret_key.get_secret_value(),
        secure=settings.minio_secure,
    )


def backup_store(settings: RegionSettings) -> Minio:
    """The object store that keeps backups."""
    return _minio(
        settings.backup_s3_endpoint,
        settings.backup_s3_access_key,
        settings.backup_s3_secret_key.get_secret_value(),
        secure=settings.backup_s3_secure,
    )


def _minio(endpoint: str, access: str, secret: str, *, secure: bool) -> Minio:
    return Minio(
        endpoint=endpoint,
        access_key=access,
        secret_key=secret,
        secure=secure,
        region="us-east-1",
        http_client=urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=5.0, read=60.0), retries=urllib3.Retry(total=3, backoff_factor=0.5)
        ),
    )


def kafka(settings: RegionSettings) -> AdminClient:
    """Kafka as its administrator."""
    return connect(
        settings.kafka_bootstrap, settings.kafka_username, settings.kafka_password.get_secret_value(), settings.way
    )


def kafka_options(settings: RegionSettings) -> dict[str, Any]:
    """What a consumer or producer of the administrator's needs."""
    return connection_options(
        settings.kafka_bootstrap, settings.kafka_username, settings.kafka_password.get_secret_value(), settings.way
    )
