"""Derives a study anew from its instances, series and announcement, and says so if that changed anything."""

from datetime import datetime

from imaging_common.events import Version
from indexer.model import Document, Facts, Tally, accounted_for, empty_study, statement, unannounced
from indexer.ports import StudyUnit

CHANGED_TOPIC = "study-changed"


async def restate_study(
    unit: StudyUnit,
    holder: str,
    study_uid: str,
    *,
    tier: str,
    epoch: int,
    now: datetime,
    facts: Facts | None = None,
    quiet_due: datetime | None = None,
    quiet_over: bool = False,
) -> None:
    """Recompute the study; with a change the version rises by one and `StudyChanged` goes to the outbox.

    `quiet_due` starts the quiet timer anew; `quiet_over` says that it ran out.
    """
    before = await unit.study()
    study = dict(before or empty_study(holder, study_uid, tier, now))
    if facts is not None and facts.values:
        study |= {**facts.values, "facts_from": facts.source}
    await _count(unit, study)
    if quiet_due is not None:
        study |= {"quiet_due": quiet_due, "quiet_settled": False}
    elif quiet_over:
        study |= {"quiet_due": None, "quiet_settled": True}
    await _complete(unit, study)
    if before is not None and _statement_of(study) == _statement_of(before):
        if study != before:
            await unit.put_study(study, replaces=before["version"])
        return
    version = Version.model_validate(study["version"])
    newer = Version(epoch=epoch, n=1) if epoch > version.epoch else Version(epoch=version.epoch, n=version.n + 1)
    study |= {"version": newer.model_dump(), "updated_at": now}
    await unit.put_study(study, replaces=(before or {}).get("version", {"epoch": 0, "n": 0}))
    await unit.emit(CHANGED_TOPIC, statement(study), study_uid)


def _statement_of(study: Document) -> Document:
    return {name: value for name, value in study.items() if name not in ("quiet_due", "quiet_settled", "updated_at")}


async def _count(unit: StudyUnit, study: Document) -> None:
    tallies = {tally.series_key: tally for tally in await unit.tallies()}
    series = await unit.series()
    changed = []
    for document in series:
        tally = tallies.get(document["_id"], Tally(document["_id"], 0, 0, 0))
        counted = {**document, "instance_count": tally.instances, "stored_count": tally.stored}
        if counted != document:
            changed.append(counted)
    await unit.put_series(changed)
    total = sum(tally.instances for tally in tallies.values())
    stored = sum(tally.stored for tally in tallies.values())
    study |= {
        "modalities": sorted({document["modality"] for document in series if document["modality"]}),
        "body_parts": sorted({document["body_part"] for document in series if document["body_part"]}),
        "series_count": len(tallies),
        "instance_count": total,
        "stored_count": stored,
        "stored": total > 0 and stored == total,
        "conflicts": await unit.conflict_count(),
        "corrections": await unit.correction_count(),
        "with_edge_count": sum(tally.with_edge for tally in tallies.values()),
    }


async def _complete(unit: StudyUnit, study: Document) -> None:
    """Announced: settled when all that was announced is accounted for and nothing else arrived; else by quiet time."""
    announcement = await unit.announcement()
    quiet = study["quiet_settled"] and study["quiet_due"] is None
    if announcement is None:
        settled = quiet and study["with_edge_count"] == 0
        study |= {"settled": settled, "settled_basis": "quiet" if settled else None}
        return
    announced = len({entry.sop_instance_uid for entry in announcement.entries})
    study |= {
        "announced": True,
        "announced_count": announced,
        "announcement": announcement.number,
        "rejected": [entry.model_dump() for entry in announcement.rejected],
    }
    settled = False
    if study["instance_count"] + len(study["rejected"]) >= announced and study["quiet_due"] is None:
        arrived = await unit.arrived()
        settled = accounted_for(announcement, arrived, study["rejected"]) and (
            not unannounced(announcement, arrived) or (quiet and study["with_edge_count"] <= announced)
        )
    study |= {"settled": settled, "settled_basis": announcement.basis if settled else None}
