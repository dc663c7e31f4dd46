"""Derives a study anew from its instances, series and announcement, and says so if that changed anything."""

from datetime import datetime

from imaging_common.events import Version
from imaging_common.index.listing import listing_of
from indexer.model import Document, Facts, accounted_for, empty_study, statement, unannounced
from indexer.ports import StudyUnit
from indexer.usecases.link_study import link_study

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
    state: Document | None = None,
    recount: bool = True,
    quiet_due: datetime | None = None,
    quiet_over: bool = False,
    relink: bool = False,
    told: Version | None = None,
) -> None:
    """Recompute the study; with a change the version rises by one and `StudyChanged` goes to the outbox.

    `state` are fields to be set as they are; `recount` says that something was put aside, so that history is
    counted anew; `quiet_due` starts the quiet timer anew; `quiet_over` says that it ran out; `relink`
    looks the patient's link up again; `told` is a version that somebody was told: what is said now is newer.
    """
    before = await unit.study()
    study = empty_study(holder, study_uid, tier, now) | (before or {})
    if before is None:
        told = told or await unit.told()
    if facts is not None and facts.values:
        study |= {**facts.values, "facts_from": facts.source}
    study |= state or {}
    if recount or before is None:
        study |= await unit.aside_counts()
    await _count(unit, study)
    if _sent_again(before, study, now):
        study |= {"deleted": False, "purge_after": None}
    if quiet_due is not None:
        study |= {"quiet_due": quiet_due, "quiet_settled": False}
    elif quiet_over:
        study |= {"quiet_due": None, "quiet_settled": True}
    await _complete(unit, study, tier)
    await link_study(unit, study, before, relink=relink)
    study |= listing_of(study)
    version = Version.model_validate(study["version"])
    lags = told is not None and not version.newer_than(told)
    if before is not None and not lags and _statement_of(study) == _statement_of(before):
        if study != before:
            await unit.put_study(study, replaces=before["version"])
        return
    if told is not None and lags:
        version = told
    newer = Version(epoch=epoch, n=1) if epoch > version.epoch else Version(epoch=version.epoch, n=version.n + 1)
    study |= {"version": newer.model_dump(), "updated_at": now}
    await unit.put_study(study, replaces=(before or {}).get("version", {"epoch": 0, "n": 0}))
    await unit.emit(CHANGED_TOPIC, statement(study), study_uid)


def _statement_of(study: Document) -> Document:
    return {name: value for name, value in study.items() if name not in ("quiet_due", "quiet_settled", "updated_at")}


def _sent_again(before: Document | None, study: Document, now: datetime) -> bool:
    """Whether the hospital sent a study anew that was deleted, with nothing left of it."""
    purge_after = study["purge_after"]
    empty = before is not None and before["instance_count"] == 0
    return empty and study["instance_count"] > 0 and purge_after is not None and bool(purge_after < now)


async def _count(unit: StudyUnit, study: Document) -> None:
    tallies = {tally.series_key: tally for tally in await unit.tallies()}
    documents = await unit.series()
    series = [document for document in documents if document["_id"] in tallies]
    await unit.remove_series([document["_id"] for document in documents if document["_id"] not in tallies])
    changed = []
    for document in series:
        tally = tallies[document["_id"]]
        counted = {
            **document,
            "instance_count": tally.instances,
            "stored_count": tally.stored,
            "online_count": tally.online,
            "header_count": tally.headers,
        }
        if counted != document:
            changed.append(counted)
    await unit.put_series(changed)
    total, stored, central = (
        sum(getattr(tally, name) for tally in tallies.values()) for name in ("instances", "stored", "central")
    )
    study |= {
        "modalities": sorted({document["modality"] for document in series if document["modality"]}),
        "body_parts": sorted({document["body_part"] for document in series if document["body_part"]}),
        "series_count": len(tallies),
        "instance_count": total,
        "stored_count": stored,
        "stored": total > 0 and stored == total,
        "online_count": sum(tally.online for tally in tallies.values()),
        "header_count": sum(tally.headers for tally in tallies.values()),
        "with_edge_count": sum(tally.with_edge for tally in tallies.values()),
        "central_count": central,
    }
    if total:
        study["tier"] = "central" if central == total else "distributed"


async def _complete(unit: StudyUnit, study: Document, tier: str) -> None:
    """Announced: settled when all that was announced is accounted for and nothing else arrived; else by quiet time.

    What a PACS announced is settled: its catalogue is the whole study.
    """
    announcement = await unit.announcement()
    quiet = study["quiet_settled"] and study["quiet_due"] is None
    if announcement is None:
        settled = quiet and study["with_edge_count"] == 0
        study |= {"settled": settled, "settled_basis": "quiet" if settled else None}
        return
    pacs = announcement.listed is not None
    announced = announcement.listed if pacs else len({entry.sop_instance_uid for entry in announcement.entries})
    moved = tier == "central" and study["instance_count"] > 0 and study["central_count"] == study["instance_count"]
    study |= {
        "announced": True,
        "announced_at": announcement.announced_at,
        "withdrawn": announcement.withdrawn and not moved,
        "announced_count": announced,
        "announcement": announcement.number,
        "rejected": [entry.model_dump() for entry in announcement.rejected],
    }
    settled = pacs and not announcement.entries
    there = study["instance_count"] + study["unlisted"] + len(study["rejected"])
    if not settled and there >= announced and study["quiet_due"] is None:
        arrived: dict[str, list[str]] = dict(await unit.arrived())
        if study["unlisted"]:
            uids = [entry.sop_instance_uid for entry in announcement.entries]
            arrived |= {uid: row["digests"] for uid, row in (await unit.unlisted(uids)).items()}
        complete = not unannounced(announcement, arrived) or (quiet and study["with_edge_count"] <= announced)
        settled = accounted_for(announcement, arrived, study["rejected"]) and (pacs or complete)
    study |= {"settled": settled, "settled_basis": announcement.basis if settled else None}
