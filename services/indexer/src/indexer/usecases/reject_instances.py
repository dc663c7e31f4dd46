"""Rejection notes (IHE IOCM, Key Object Selection) and other leavings: instances enter, their absence leaves."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from imaging_common.objects.model import Manifest, StoredInstance
from indexer.model import Document, Facts, aside, first_value, series_facts, study_facts, text
from indexer.ports import StudyUnit

KEY_OBJECT_SELECTION = "1.2.840.10008.5.1.4.1.1.88.59"
REJECTED_FOR = frozenset({"113001", "113037", "113038", "113039"})
"""Quality, patient safety, incorrect worklist entry, retention expired (DICOM CID 7011; IHE RAD TF-3 4.66)."""


def rejected_by(note: StoredInstance, study_uid: str) -> set[str]:
    """UIDs of the study's instances that a Key Object Selection (PS3.3 C.17.6.2) rejects; empty if it is no note."""
    title = first_value(note.header, "0040A043") or {}
    if note.sop_class_uid != KEY_OBJECT_SELECTION or text(title, "00080102") != "DCM":
        return set()
    if text(title, "00080100") not in REJECTED_FOR:
        return set()
    return {
        text(instance, "00081155")
        for study in _items(note.header, "0040A375")
        if text(study, "0020000D") == study_uid
        for series in _items(study, "00081115")
        for instance in _items(series, "00081199")
    } - {"", note.sop_instance_uid}


def _items(header: Mapping[str, Any], tag: str) -> list[Any]:
    return header.get(tag, {}).get("Value") or []


async def reject_instances(unit: StudyUnit, manifest: Manifest, chunk: Sequence[StoredInstance], study: Facts) -> bool:
    """Take out what the notes in a chunk reject, now or when it comes; whether there was a note.

    What a PACS keeps it has filtered itself.
    """
    if manifest.lies_in == "cache":
        return False
    reasons: dict[str, Document] = {}
    for stored in chunk:
        if stored.sop_class_uid == KEY_OBJECT_SELECTION:
            for uid in rejected_by(stored, manifest.study_uid):
                reasons[uid] = {"rejected_by": stored.sop_instance_uid}
    known = await unit.unlisted(sorted(reasons)) if reasons else {}
    reasons = {uid: reason for uid, reason in reasons.items() if uid not in known}
    if reasons:
        await leave_study(unit, reasons, study)
    return bool(reasons)


async def leave_study(unit: StudyUnit, reasons: Mapping[str, Document], study: Facts | None = None) -> None:
    """Move instances into the history and remember why; facts that came from them are those of others now.

    Without `study` the caller sets the facts itself. Cached copies are no longer pointed at: they may be evicted.
    """
    documents = await unit.wholes(sorted(reasons))
    former = [aside(d, **reasons[d["sop_instance_uid"]], location=_kept(d["location"])) for d in documents]
    await unit.put_aside("instance_versions", former)
    await unit.remove([document["sop_instance_uid"] for document in documents])
    digests = {document["sop_instance_uid"]: document["digests"] for document in documents}
    await unit.unlist({uid: {**reason, "digests": digests.get(uid, [])} for uid, reason in reasons.items()})
    if study is not None:
        await _derive_facts(unit, {document["sop_instance_uid"] for document in documents}, study)


def _kept(location: Document | None) -> Document | None:
    return None if location and location["bucket"] == "cache" else location


async def _derive_facts(unit: StudyUnit, gone: Iterable[str], study: Facts) -> None:
    gone = set(gone)
    left = await unit.listed()
    if study.source in gone and left:
        (lowest,) = await unit.wholes(left[:1])
        study.source, study.values = lowest["sop_instance_uid"], study_facts(orjson.loads(lowest["header"]))
    changed = []
    for series in await unit.series():
        if series["facts_from"] not in gone:
            continue
        first = await unit.first_of(series["_id"])
        if first is not None:
            facts = series_facts(orjson.loads(first["header"]))
            changed.append({**series, **facts, "facts_from": first["sop_instance_uid"]})
    await unit.put_series(changed)
