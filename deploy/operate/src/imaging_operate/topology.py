"""What every region has, however it runs: its databases, buckets, users and their rights, topics and permissions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from imaging_common.contracts.__main__ import SCHEMAS
from imaging_common.contracts.topics import load_topics
from imaging_common.messaging.permissions import (
    ONBOARDING,
    OPERATIONS,
    SERVICES,
    Acl,
    Topic,
    edge_principal,
    ehr_principal,
    plan,
)

TOPICS_FOLDER = SCHEMAS / "topics"
"""The topics' contracts; an image has them where the source tree does, relative to the installed packages."""
KAFKA_ADMIN = "admin"
DATABASES = {
    "object-writer": "objects",
    "indexer": "index",
    "gateway": "gateway",
    "consult": "consult",
    "notification": "notification",
    "audit": "audit",
}
"""Service → the MongoDB database that it owns; its MongoDB user has the service's name."""
READ_DATABASES = {"gateway": ("index",)}
"""Service → the databases of others that it reads."""
BUCKETS = ("staging", "archive", "cache")
LOCKED_BUCKET = "audit-anchors"
"""With S3 Object Lock: the audit chains' heads."""
DIRECTORY_CLIENTS = {"consult": "consult-service", "notification": "notification-service"}
"""The services that look people up at the identity provider, and as which client."""
DOORS = ("dicom-ingest", "gateway")
"""What edge agents come to over HTTPS, with their certificates."""


def kafka_principals(hospitals: Sequence[str], organisations: Sequence[str]) -> list[str]:
    """All Kafka users of a region but its administrator."""
    return [
        *SERVICES,
        ONBOARDING,
        OPERATIONS,
        *map(edge_principal, hospitals),
        *map(ehr_principal, organisations),
    ]


def kafka_plan(
    hospitals: Sequence[str], organisations: Sequence[str], folder: Path = TOPICS_FOLDER
) -> tuple[list[Topic], list[Acl]]:
    """The topics of a region, and who may do what with them.

    Raises
    ------
    FileNotFoundError
        The folder has no contracts.
    """
    contracts = load_topics(folder)
    if not contracts:
        raise FileNotFoundError(f"{folder} has no topics' contracts (*.yaml): name the folder `schemas/topics`")
    return plan(contracts, list(hospitals), list(organisations))


def database_roles(service: str) -> list[dict[str, str]]:
    """What a service's MongoDB user may do."""
    own = {"role": "readWrite", "db": DATABASES[service]}
    return [own, *({"role": "read", "db": other} for other in READ_DATABASES.get(service, ()))]


def bucket_policies() -> dict[str, dict[str, Any]]:
    """Service → S3 policy: only the object writer deletes; of the archive the ingest writes reports alone."""

    def statement(actions: list[str], buckets: tuple[str, ...], below: str = "") -> dict[str, Any]:
        resources = [f"arn:aws:s3:::{b}" for b in buckets] + [f"arn:aws:s3:::{b}/{below}*" for b in buckets]
        return {"Effect": "Allow", "Action": [f"s3:{action}" for action in actions], "Resource": resources}

    read = ["GetObject", "ListBucket", "GetBucketLocation"]
    write = ["PutObject", "AbortMultipartUpload", "ListMultipartUploadParts", "ListBucketMultipartUploads"]
    lock = ["PutObjectRetention", "GetBucketObjectLockConfiguration", "ListBucketVersions", "GetObjectVersion"]
    rules = {
        "dicom-ingest": [
            statement([*read, *write], ("staging", "cache")),
            statement([*read, *write], ("archive",), below="*/reports/"),
        ],
        "object-writer": [statement(["*"], BUCKETS)],
        "indexer": [statement(read, BUCKETS)],
        "gateway": [statement(read, BUCKETS)],
        "audit": [statement([*read, *write, *lock], (LOCKED_BUCKET,))],
    }
    return {service: {"Version": "2012-10-17", "Statement": statements} for service, statements in rules.items()}
