"""The replica set and the services' users at MongoDB. Blocking: off the event loop only."""

import time
from collections.abc import Mapping
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from imaging_operate.topology import DATABASES, database_roles

PRIMARY_DEADLINE_SECONDS = 120
ALREADY_INITIALIZED = 23
USER_EXISTS = 51003

Client = MongoClient[dict[str, Any]]


def initiate_replica_set(client: Client, name: str, member: str) -> None:
    """Make a replica set of one member, unless there is a set already, and wait for its primary.

    Parameters
    ----------
    client
        A direct connection to that member.
    member
        `host:port`, as the services reach it.

    Raises
    ------
    TimeoutError
        There was no primary after two minutes.
    """
    config = {"_id": name, "members": [{"_id": 0, "host": member}]}
    try:
        client.admin.command("replSetInitiate", config)
    except OperationFailure as error:
        if error.code != ALREADY_INITIALIZED:
            raise
    deadline = time.monotonic() + PRIMARY_DEADLINE_SECONDS
    while not _is_primary(client):
        if time.monotonic() > deadline:
            raise TimeoutError(f"MongoDB at {member} did not become primary of {name} in {PRIMARY_DEADLINE_SECONDS} s")
        time.sleep(0.05)


def ensure_users(client: Client, passwords: Mapping[str, str]) -> None:
    """Every service's user, with its rights and this password; users live in the database `admin`.

    Raises
    ------
    KeyError
        A service has no password.
    PyMongoError
        MongoDB does not answer, or refuses.
    """
    for service in DATABASES:
        ensure_user(client, service, passwords[service], database_roles(service))


def ensure_user(client: Client, name: str, password: str, roles: list[Any]) -> None:
    """A user with exactly these roles and this password."""
    try:
        client.admin.command("createUser", name, pwd=password, roles=roles)
    except OperationFailure as error:
        if error.code != USER_EXISTS:
            raise
        client.admin.command("updateUser", name, pwd=password, roles=roles)


def _is_primary(client: Client) -> bool:
    try:
        return bool(client.admin.command("hello").get("isWritablePrimary"))
    except PyMongoError:
        return False
