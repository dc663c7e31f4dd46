"""From findings to what is said on the topics: each study is checked once, whatever was found of it."""

from collections.abc import Iterable, Iterator

import orjson
from minio import Minio

from imaging_common.events import (
    AnnounceRequested,
    InstancesWanted,
    ManifestEntry,
    ReportReceived,
    StudyCheckRequested,
    StudyDeletionRequested,
    StudyHeld,
    StudyRestored,
    Version,
)
from imaging_common.objects.reports import ReportManifest
from imaging_operate.reconcile.model import ANNOUNCED, CHECKED, Finding
from imaging_operate.streams import pages
from imaging_operate.telling import Message

MAX_WANTED = 1000
COMMANDS, REPORTS = "study-commanded", "reports-received"
Study = tuple[str, str]
"""(holder, study)"""


def messages(findings: Iterable[Finding], user: str, store: Minio, told: dict[Study, Version]) -> Iterator[Message]:
    """What to say; checks come before anything is asked of a hospital.

    Parameters
    ----------
    told
        The newest version of a study that anybody was told, where it is known.
    """
    found = list(findings)
    for holder, study_uid in _studies(one for one in found if one.kind in CHECKED):
        versions = [one.told for one in found if (one.holder, one.study_uid) == (holder, study_uid) and one.told]
        newest = max([*versions, *_known(told, holder, study_uid)], key=lambda v: (v.epoch, v.n), default=None)
        yield COMMANDS, StudyCheckRequested(study_uid=study_uid, holder=holder, told=newest, user=user), study_uid
    for one in found:
        if one.kind == "deletion-not-followed":
            yield from orders(one, user)
        elif one.kind == "report-not-indexed":
            yield _report(one, store)
        elif one.kind == "announcements-missing":
            yield f"edge-commands-{one.holder}", AnnounceRequested(user=user), ""
    for holder, study_uid in _studies(one for one in found if one.kind in ANNOUNCED):
        yield f"edge-commands-{holder}", AnnounceRequested(study_uid=study_uid, user=user), study_uid
    for (holder, study_uid), wanted in _wanted(found).items():
        for page in pages(wanted, MAX_WANTED):
            asked = InstancesWanted(study_uid=study_uid, instances=page, user=user)
            yield f"edge-commands-{holder}", asked, study_uid


def _studies(findings: Iterable[Finding]) -> list[Study]:
    return list(dict.fromkeys((one.holder, one.study_uid) for one in findings))


def _known(told: dict[Study, Version], holder: str, study_uid: str) -> list[Version]:
    return [told[holder, study_uid]] if (holder, study_uid) in told else []


def _wanted(findings: Iterable[Finding]) -> dict[Study, list[ManifestEntry]]:
    wanted: dict[Study, dict[ManifestEntry, None]] = {}
    for one in findings:
        if one.wanted:
            wanted.setdefault((one.holder, one.study_uid), {}).update(dict.fromkeys(one.wanted))
    return {study: list(entries) for study, entries in wanted.items()}


def orders(one: Finding, user: str) -> Iterator[Message]:
    """The store keeper's orders once more, under their own revisions: who followed them already does nothing."""
    order, study_uid = one.detail, one.study_uid
    if order.get("deletion_revision") and order.get("deleted"):
        yield (
            COMMANDS,
            StudyDeletionRequested(
                study_uid=study_uid,
                holder=one.holder,
                revision=order["deletion_revision"],
                reason=order["reason"],
                user=user,
                purge_after=order["purge_after"],
            ),
            study_uid,
        )
    elif order.get("deletion_revision"):
        undone = StudyRestored(study_uid=study_uid, holder=one.holder, revision=order["deletion_revision"], user=user)
        yield COMMANDS, undone, study_uid
    if order.get("hold_revision"):
        held = StudyHeld(
            study_uid=study_uid,
            holder=one.holder,
            revision=order["hold_revision"],
            held=bool(order.get("held")),
            user=user,
        )
        yield COMMANDS, held, study_uid


def _report(one: Finding, store: Minio) -> Message:
    answer = store.get_object(bucket_name="archive", object_name=one.detail["key"])
    try:
        facts = ReportManifest.model_validate(orjson.loads(answer.read()))
    finally:
        answer.close()
        answer.release_conn()
    event = ReportReceived(
        hospital=facts.hospital,
        report_key=facts.report_key,
        sha256=facts.sha256,
        manifest_key=one.detail["key"],
        kind=facts.kind,
        received_at=facts.received_at,
    )
    return REPORTS, event, facts.report_key
