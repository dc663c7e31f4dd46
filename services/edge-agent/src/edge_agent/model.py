"""Rules of the edge agent without I/O: who may call, how a study is cut into batches."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class State(StrEnum):
    """Where an instance is on its way."""

    RECEIVED = "received"
    SENT = "sent"
    """The centre's ingest answered that it is staged."""
    STORED = "stored"
    """The archive's receipt is here; the copy may go."""
    REJECTED = "rejected"
    """The centre refused it, with a reason; it stays for a person to look at."""


@dataclass(frozen=True, slots=True)
class SpooledInstance:
    """One instance in the spool."""

    number: int
    study_uid: str
    sop_instance_uid: str
    sha256: str
    length: int
    path: Path
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Backlog:
    """What still has to be stored in the centre, and what the spool holds altogether."""

    instances: int
    bytes: int
    spool_bytes: int


def may_call(rules: str, ae_title: str, address: str) -> bool:
    """Whether a calling AE title at an address is on the allow-list of `AE@address` rules."""
    for rule in filter(None, (part.strip() for part in rules.split(","))):
        allowed_title, _, allowed_address = rule.partition("@")
        if allowed_title in ("*", ae_title) and allowed_address in ("*", address):
            return True
    return False


def cut_batches(
    instances: list[SpooledInstance], *, first: bool, first_instances: int, batch_bytes: int
) -> list[list[SpooledInstance]]:
    """Cut one study's waiting instances into batches, in order of arrival.

    Parameters
    ----------
    first
        Nothing of the study was sent yet: the first batch holds at most `first_instances`.
    batch_bytes
        A batch holds at most so many bytes, or one larger instance.
    """
    batches: list[list[SpooledInstance]] = []
    size = 0
    for instance in instances:
        limit = first_instances if first and len(batches) <= 1 else len(instances)
        full = not batches or len(batches[-1]) >= limit or size + instance.length > batch_bytes
        if full:
            batches.append([])
            size = 0
        batches[-1].append(instance)
        size += instance.length
    return batches
