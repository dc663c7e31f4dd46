"""Entries of a catalogue against what the index has: new instances, whole headers, corrections, and those that left."""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from imaging_common.objects.catalogue import Catalogue
from indexer.headers import agree, header_digest
from indexer.identity import Known
from indexer.model import Announcement, Document, Facts, aside, series_facts, study_facts, text
from indexer.ports import StudyUnit
from indexer.usecases.reject_instances import leave_study


@dataclass(frozen=True, slots=True)
class Entry:
    """One instance of a catalogue: its index document, as if nothing were known of it."""

    uid: str
    document: Document
    header: dict[str, Any]


def entries_of(catalogue: Catalogue) -> list[Entry]:
    """The documents of a catalogue's instances, in order of UIDs; of one UID twice the last counts."""
    study_key = f"{catalogue.hospital}/{catalogue.study_uid}"
    return [
        Entry(
            uid,
            {
                "_id": f"{study_key}/{uid}",
                "study_key": study_key,
                "series_key": f"{study_key}/{instance.series_uid}",
                "study_uid": catalogue.study_uid,
                "series_uid": instance.series_uid,
                "sop_instance_uid": uid,
                "sop_class_uid": instance.sop_class_uid,
                "holder": catalogue.hospital,
                "instance_number": instance.instance_number,
                "transfer_syntax_uid": instance.transfer_syntax_uid or "",
                "sha256": None,
                "pixel_sha256": None,
                "digests": [],
                "has_edge": True,
                "location": None,
                "header": orjson.dumps(instance.header),
                "header_full": instance.full,
                "header_digest": None,
                "pacs_digest": header_digest(instance.header),
            },
            instance.header,
        )
        for uid, instance in sorted({i.sop_instance_uid: i for i in catalogue.instances}.items())
    ]


def facts_digest(catalogue: Catalogue) -> str:
    """Of what a catalogue says of patient, study and series: equal for catalogues that say the same."""
    parts = [header_digest(catalogue.study), *sorted(header_digest(series) for series in catalogue.series)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


class CatalogueChange:
    """Takes chunks of a catalogue; writes at once what they change."""

    def __init__(
        self, unit: StudyUnit, catalogue: Catalogue, former: Announcement | None, announcement: Announcement
    ) -> None:
        self._unit = unit
        self._catalogue = catalogue
        self._new_facts = former is None or former.facts_digest != announcement.facts_digest
        self.history = False

    async def take(self, chunk: Sequence[Entry]) -> None:
        """Add what is new; complete, or correct with history, what the PACS says otherwise than before."""
        uids = [entry.uid for entry in chunk]
        known = await self._unit.known(uids)
        unlisted: dict[str, Document] = {}
        if (await self._unit.study() or {}).get("unlisted"):
            unlisted = await self._unit.unlisted(uids)
        back = [uid for uid, reason in unlisted.items() if reason.get("gone")]
        await self._unit.relist(back)
        self.history |= bool(back)
        listed = [entry for entry in chunk if entry.uid not in unlisted or entry.uid in back]
        await self._unit.put_instances([e.document for e in listed if e.uid not in known], new=True)
        changed = [e for e in listed if e.uid in known and _changed(known[e.uid], e)]
        served = {d["sop_instance_uid"]: d for d in await self._unit.wholes([entry.uid for entry in changed])}
        await self._change([(known[entry.uid], served[entry.uid], entry) for entry in changed])
        await self._put_series(chunk)

    async def _change(self, changes: Sequence[tuple[Known, Document, Entry]]) -> None:
        former, written = [], []
        amended: dict[str, Document] = {}
        agreeing = await asyncio.to_thread(_agreeing, changes) if changes else []
        for (known, served, entry), same in zip(changes, agreeing, strict=True):
            told = {"pacs_digest": entry.document["pacs_digest"]}
            if not same and not _only_completed(known, entry):
                former.append(aside(served))
                written.append(_corrected(served, entry))
            elif known.header_full:
                amended[entry.uid] = told
            else:
                written.append({**served, **_said(entry)})
        await self._unit.put_aside("instance_versions", former)
        await self._unit.put_instances(written)
        await self._unit.amend(amended)
        self.history |= bool(former)

    async def remove_gone(self, entries: Sequence[Entry], *, keep_central: bool) -> None:
        """Instances that the PACS no longer has leave the study.

        Parameters
        ----------
        keep_central
            The centre's own copies are the originals now: they stay.
        """
        gone = sorted(set(await self._unit.listed()) - {entry.uid for entry in entries})
        known = await self._unit.known(gone) if gone else {}
        left = [
            uid
            for uid, instance in known.items()
            if instance.from_pacs and not (keep_central and instance.bucket in ("staging", "archive"))
        ]
        if left:
            await leave_study(self._unit, {uid: {"gone": True} for uid in left})
            await self._point_series_elsewhere(set(left))
            self.history = True

    async def _point_series_elsewhere(self, left: set[str]) -> None:
        changed = []
        for series in await self._unit.series():
            first = await self._unit.first_of(series["_id"]) if series["facts_from"] in left else None
            if first is not None:
                changed.append({**series, "facts_from": first["sop_instance_uid"]})
        await self._unit.put_series(changed)

    def facts(self, entries: Sequence[Entry]) -> Facts | None:
        """Patient and study as the catalogue says them, gaps filled from its first instance; None: as before."""
        if not self._new_facts:
            return None
        source, header = (entries[0].uid, entries[0].header) if entries else ("", {})
        return Facts(source, study_facts(_over(header, self._catalogue.study)))

    async def _put_series(self, chunk: Sequence[Entry]) -> None:
        present = {document["series_uid"] for document in await self._unit.series()}
        said = {text(series, "0020000E"): series for series in self._catalogue.series}
        first: dict[str, Entry] = {}
        for entry in chunk:
            first.setdefault(entry.document["series_uid"], entry)
        documents = []
        for series_uid, entry in first.items():
            if series_uid in present and not self._new_facts:
                continue
            document = {name: entry.document[name] for name in ("study_key", "study_uid", "series_uid", "holder")}
            facts = series_facts(_over(entry.header, said.get(series_uid, {})))
            known = {} if series_uid in present else {"facts_from": entry.uid}
            documents.append({"_id": entry.document["series_key"], **document, **facts, **known})
        await self._unit.put_series(documents)


def _agreeing(changes: Sequence[tuple[Known, Document, Entry]]) -> list[bool]:
    """Which entries say what the served headers say."""
    return [
        agree(entry.header, orjson.loads(served["header"]), ascii_only=not entry.document["header_full"])
        for _, served, entry in changes
    ]


def _changed(known: Known, entry: Entry) -> bool:
    """Whether the PACS says something else than it said, or says more."""
    full = entry.document["header_full"]
    return known.pacs_digest != entry.document["pacs_digest"] or (full and not known.header_full)


def _only_completed(known: Known, entry: Entry) -> bool:
    """A whole header in place of a brief one is no correction."""
    return not known.header_full and bool(entry.document["header_full"])


def _said(entry: Entry) -> Document:
    """What the PACS says of an instance."""
    names = ("series_key", "series_uid", "instance_number", "header", "header_full", "pacs_digest")
    return {name: entry.document[name] for name in names}


def _corrected(served: Document, entry: Entry) -> Document:
    """The instance with its new header; a cached copy has the old one, so it is no longer pointed at."""
    location = served["location"]
    kept = location if location and location["bucket"] != "cache" else None
    return {**served, **_said(entry), "location": kept}


def _over(header: dict[str, Any], attributes: dict[str, Any]) -> dict[str, Any]:
    """A header in which attributes that have a value take the place of its own."""
    return {**header, **{tag: attribute for tag, attribute in attributes.items() if attribute.get("Value")}}
