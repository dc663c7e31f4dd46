"""Topics, permissions and users at Kafka. Blocking: off the event loop only."""

import time
from collections.abc import Mapping, Sequence

from confluent_kafka.admin import AdminClient

from imaging_common.messaging import administration
from imaging_common.messaging.permissions import Acl, Topic


def ensure_kafka(
    admin: AdminClient,
    topics: Sequence[Topic],
    acls: Sequence[Acl],
    users: Mapping[str, str],
    *,
    replication: int,
) -> None:
    """Make what is missing, give every user its password, and return when all of it is in force.

    Parameters
    ----------
    users
        Principal → password (SCRAM-SHA-512). Empty: an operator of Kafka's makes them.

    Raises
    ------
    KafkaException
        Kafka does not answer, or refuses.
    RuntimeError
        It was not in force after two minutes.
    """
    if users:
        administration.set_passwords(admin, users)
    administration.apply(admin, topics, acls, replication=replication)
    deadline = time.monotonic() + administration.IN_FORCE_DEADLINE_SECONDS
    while missing := users.keys() - administration.known_users(admin):
        if time.monotonic() > deadline:
            raise RuntimeError(f"Kafka does not know its users {', '.join(sorted(missing))} after two minutes")
        time.sleep(0.1)
