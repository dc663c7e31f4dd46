"""Buckets at an S3 store, and the services' users and policies at MinIO. Blocking: off the event loop only."""

from collections.abc import Mapping

from minio import Minio, MinioAdmin
from minio.credentials.providers import StaticProvider

from imaging_operate.topology import BUCKETS, LOCKED_BUCKET, bucket_policies

Key = tuple[str, str]
"""Access key and secret key."""


def ensure_buckets(endpoint: str, key: Key, *, secure: bool) -> None:
    """The region's buckets; the one of the audit's anchors with Object Lock.

    Raises
    ------
    minio.error.S3Error
        The store refuses.
    """
    client = Minio(endpoint=endpoint, access_key=key[0], secret_key=key[1], secure=secure)
    for bucket in (*BUCKETS, LOCKED_BUCKET):
        if not client.bucket_exists(bucket_name=bucket):
            client.make_bucket(bucket_name=bucket, object_lock=bucket == LOCKED_BUCKET)


def ensure_users(endpoint: str, key: Key, users: Mapping[str, Key], *, secure: bool) -> None:
    """Every service's user with its key and its policy (MinIO's admin API; other S3 stores have their own ways).

    Raises
    ------
    KeyError
        A service has no key.
    minio.error.MinioAdminException
        MinIO refuses.
    """
    admin = MinioAdmin(endpoint=endpoint, credentials=StaticProvider(*key), secure=secure)
    for service, policy in bucket_policies().items():
        admin.user_add(*users[service])
        admin.policy_add(service, policy=policy)
        admin.policy_set(service, user=users[service][0])
