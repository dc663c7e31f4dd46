"""The whole look: every kind of finding, one after the other; what is only on its way is not one."""

import time
from collections.abc import Callable, Iterator

from minio import Minio

from imaging_operate.reconcile import look_index, look_store
from imaging_operate.reconcile.model import Finding
from imaging_operate.servers import Mongo

CONFIRM_SECONDS = 5.0
"""Events of a running region are on their way for a moment: what is still missing after it is missing."""
Told = Callable[[str, int], None]


def look(client: Mongo, store: Minio, told: Told = lambda kind, count: None) -> list[Finding]:
    """Everything that is missing now."""
    found: list[Finding] = []
    for kind, part in _parts(client, store):
        told(kind, len(found))
        found.extend(part)
    return found


def confirmed(
    client: Mongo, store: Minio, told: Told = lambda kind, count: None, seconds: float = CONFIRM_SECONDS
) -> list[Finding]:
    """What was missing at two looks with a pause between them."""
    first = {(one.kind, one.holder, one.study_uid) for one in look(client, store, told)}
    if not first:
        return []
    time.sleep(seconds)
    return [one for one in look(client, store, told) if (one.kind, one.holder, one.study_uid) in first]


def _parts(client: Mongo, store: Minio) -> Iterator[tuple[str, Iterator[Finding]]]:
    yield "not-indexed", look_store.not_indexed(client, store)
    yield "rows-missing", look_index.rows_missing(client)
    yield "object-missing", look_store.object_missing(client, store)
    yield "bytes-missing", look_store.bytes_missing(client)
    yield "not-in-ledger", look_store.not_in_ledger(client, store)
    yield "report-not-indexed", look_store.reports_not_indexed(client, store)
    yield "announced-not-here", look_index.announced_not_here(client)
    yield "announcements-missing", look_index.announcements_missing(client)
    yield "deletion-not-followed", look_index.deletions_not_followed(client)
    yield "told", look_index.told_otherwise(client)
