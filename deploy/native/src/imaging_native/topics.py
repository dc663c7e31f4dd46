"""The region's topics and permissions, derived from `schemas/topics/*.yaml` and made at its Kafka."""

import asyncio
from pathlib import Path

from imaging_common.contracts.topics import TopicContract, load_topics
from imaging_common.messaging.administration import EVERY_ACL, apply, connect
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

TOPICS_FOLDER = Path(__file__).parents[4] / "schemas" / "topics"

__all__ = [
    "EVERY_ACL",
    "ONBOARDING",
    "OPERATIONS",
    "SERVICES",
    "Acl",
    "Topic",
    "apply",
    "apply_async",
    "edge_principal",
    "ehr_principal",
    "load_specifications",
    "plan",
]


def load_specifications(folder: Path = TOPICS_FOLDER) -> list[TopicContract]:
    """The topics' files."""
    return load_topics(folder)


async def apply_async(bootstrap: str, password: str, topics: list[Topic], acls: list[Acl]) -> None:
    """`apply`, off the event loop, as the Kafka user `admin`."""
    await asyncio.to_thread(apply, connect(bootstrap, "admin", password), topics, acls)
