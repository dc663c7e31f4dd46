"""`Index` in memory, for unit tests: a transaction works on a copy that takes the original's place."""

import copy
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime

from imaging_common.events import Event, HospitalRegistered, Version
from imaging_common.index.fake import FakeIndexReader
from indexer.errors import VersionTaken
from indexer.identity import Known, known_of
from indexer.model import Announcement, Document, Tally
from indexer.ports import Fate, StudyUnit
from indexer.residents import Link

Collections = dict[str, dict[str, Document]]


class FakeIndex:
    """Keeps documents per collection and the events of committed transactions."""

    def __init__(self, epoch: int = 1) -> None:
        self.epoch = epoch
        self.collections: Collections = defaultdict(dict)
        self.events: list[tuple[str, Event, str]] = []

    def reader(self) -> FakeIndexReader:
        """The readers' side of the same documents."""
        reader = FakeIndexReader()
        reader.collections = self.collections
        return reader

    async def change(self, holder: str, study_uid: str, work: Callable[[StudyUnit], Awaitable[None]]) -> None:
        """See `Index.change`."""
        unit = FakeStudyUnit(copy.deepcopy(self.collections), f"{holder}/{study_uid}")
        await work(unit)
        self.collections = unit.collections
        self.events += unit.events

    async def indexed(self, manifests: Sequence[str]) -> set[str]:
        """See `Index.indexed`."""
        return set(manifests) & self.collections["manifests"].keys()

    async def purged(self, manifests: Sequence[str]) -> dict[str, datetime]:
        """See `Index.purged`."""
        found = {name: self.collections["manifests"].get(name, {}).get("purged_at") for name in manifests}
        return {name: at for name, at in found.items() if at is not None}

    async def forget(self, manifest: str) -> None:
        """See `Index.forget`."""
        if await self.purged([manifest]):
            del self.collections["manifests"][manifest]

    async def announced(self, holder: str, study_uid: str) -> int:
        """See `Index.announced`."""
        found = self.collections["announcements"].get(f"{holder}/{study_uid}")
        return 0 if found is None else int(found["value"].number)

    async def quiet_due(self, now: datetime) -> list[tuple[str, str]]:
        """See `Index.quiet_due`."""
        studies = self.collections["studies"].values()
        return [(s["holder"], s["study_uid"]) for s in studies if s["quiet_due"] and s["quiet_due"] <= now]

    async def register(self, hospital: HospitalRegistered) -> None:
        """See `Index.register`."""
        known = self.collections["hospitals"].get(hospital.hospital)
        if known is None or known["revision"] < hospital.revision:
            self.collections["hospitals"][hospital.hospital] = {"_id": hospital.hospital, **hospital.model_dump()}

    async def tier_of(self, holder: str) -> str:
        """See `Index.tier_of`."""
        return str(self.collections["hospitals"].get(holder, {}).get("tier", "central"))


class FakeStudyUnit:
    """See `StudyUnit`."""

    def __init__(self, collections: Collections, key: str) -> None:
        self.collections = collections
        self.events: list[tuple[str, Event, str]] = []
        self._key = key

    async def study(self) -> Document | None:
        found = self.collections["studies"].get(self._key)
        return None if found is None else dict(found)

    async def series(self) -> list[Document]:
        return [dict(d) for d in self.collections["series"].values() if d["study_key"] == self._key]

    def _instances(self) -> list[Document]:
        return self._of("instances")

    async def known(self, sop_instance_uids: Sequence[str]) -> dict[str, Known]:
        wanted = set(sop_instance_uids)
        return {d["sop_instance_uid"]: known_of(d) for d in self._instances() if d["sop_instance_uid"] in wanted}

    async def wholes(self, sop_instance_uids: Sequence[str]) -> list[Document]:
        wanted = set(sop_instance_uids)
        return [dict(d) for d in self._instances() if d["sop_instance_uid"] in wanted]

    async def versions(self, sop_instance_uid: str) -> list[Document]:
        rows = self._of("instance_versions")
        return [dict(d) for d in rows if d["sop_instance_uid"] == sop_instance_uid]

    async def listed(self) -> list[str]:
        return sorted(d["sop_instance_uid"] for d in self._instances())

    async def first_of(self, series_key: str) -> Document | None:
        found = [d for d in self._instances() if d["series_key"] == series_key]
        return dict(min(found, key=lambda d: d["sop_instance_uid"])) if found else None

    async def unlisted(self, sop_instance_uids: Sequence[str]) -> dict[str, Document]:
        rows = self.collections["unlisted"]
        found = {uid: rows.get(f"{self._key}/{uid}") for uid in sop_instance_uids}
        return {uid: dict(row) for uid, row in found.items() if row is not None}

    async def lying_in(self, collection: str, keys: Sequence[str]) -> list[Document]:
        return [dict(d) for d in self._of(collection) if (d.get("location") or {}).get("key") in keys]

    async def arrived(self) -> Mapping[str, list[str]]:
        return {d["sop_instance_uid"]: d["digests"] for d in self._instances()}

    async def tallies(self) -> list[Tally]:
        tallies: dict[str, Tally] = {}
        for document in self._instances():
            bucket = (document["location"] or {}).get("bucket")
            last = tallies.get(document["series_key"], Tally(document["series_key"]))
            tallies[last.series_key] = Tally(
                last.series_key,
                last.instances + 1,
                last.stored + (bucket == "archive"),
                last.with_edge + document["has_edge"],
                last.online + (bucket is not None),
                last.central + (bucket in ("staging", "archive")),
                last.headers + document["header_full"],
            )
        return list(tallies.values())

    async def report_count(self) -> int:
        return sum(d["study_key"] == self._key for d in self.collections["reports"].values())

    async def aside_counts(self) -> Document:
        return {
            "conflicts": len(self._of("conflicts")),
            "corrections": sum(not d.get("purged", False) for d in self._of("instance_versions")),
            "unlisted": len(self._of("unlisted")),
        }

    def _of(self, collection: str) -> list[Document]:
        return [d for d in self.collections[collection].values() if d["study_key"] == self._key]

    async def announcement(self) -> Announcement | None:
        found = self.collections["announcements"].get(self._key)
        return None if found is None else found["value"]

    async def link(self, patient_key: str) -> Link:
        found = self.collections["links"].get(patient_key, {})
        return Link(found.get("resident_id"), found.get("linked_by", ""))

    async def is_hospital(self, name: str) -> bool:
        return name in self.collections["hospitals"]

    async def put_announcement(self, announcement: Announcement) -> None:
        self.collections["announcements"][self._key] = {"_id": self._key, "value": announcement}

    async def put_instances(self, documents: Sequence[Document], *, new: bool = False) -> None:
        assert not new or not self.collections["instances"].keys() & {d["_id"] for d in documents}
        self._put("instances", documents)

    async def amend(self, changes: Mapping[str, Document]) -> None:
        for uid, fields in changes.items():
            self.collections["instances"][f"{self._key}/{uid}"] |= fields

    async def remove(self, sop_instance_uids: Sequence[str]) -> None:
        for uid in sop_instance_uids:
            self.collections["instances"].pop(f"{self._key}/{uid}", None)

    async def unlist(self, reasons: Mapping[str, Document]) -> None:
        self._put(
            "unlisted",
            [{**why, "_id": f"{self._key}/{uid}", "study_key": self._key} for uid, why in reasons.items()],
        )

    async def relist(self, sop_instance_uids: Sequence[str]) -> None:
        for uid in sop_instance_uids:
            self.collections["unlisted"].pop(f"{self._key}/{uid}", None)

    async def put_aside(self, collection: str, documents: Sequence[Document]) -> None:
        self._put(collection, documents)

    async def relocate_aside(self, locations: Mapping[tuple[str, str], Document | None]) -> None:
        for (uid, sha256), location in locations.items():
            for collection in ("instance_versions", "conflicts"):
                found = self.collections[collection].get(f"{self._key}/{uid}/{sha256}")
                if found:
                    found["location"] = location

    async def put_series(self, documents: Sequence[Document]) -> None:
        merged = [{**self.collections["series"].get(d["_id"], {}), **d} for d in documents]
        self._put("series", merged)

    async def remove_series(self, series_keys: Sequence[str]) -> None:
        for key in series_keys:
            self.collections["series"].pop(key, None)

    async def put_study(self, document: Document, *, replaces: Mapping[str, int]) -> None:
        present = self.collections["studies"].get(self._key, {"version": {"epoch": 0, "n": 0}})
        if present["version"] != replaces:
            raise VersionTaken("the study changed meanwhile")
        self._put("studies", [document])

    async def fate_of(self, manifest: str) -> Fate:
        found = self.collections["manifests"].get(manifest)
        return Fate.NEW if found is None else Fate.REPLACED if found.get("replaced") else Fate.INDEXED

    async def mark_indexed(self, manifest: str, replaces: Sequence[str]) -> None:
        self.collections["manifests"].setdefault(manifest, {"_id": manifest})
        self._put("manifests", [{"_id": old, "replaced": True} for old in replaces])

    async def forget_indexed(self) -> None:
        for name, mark in list(self.collections["manifests"].items()):
            if name.split("/", 1)[1].startswith(f"{self._key}/") and not mark.get("replaced"):
                del self.collections["manifests"][name]

    async def places(self) -> set[tuple[str, str]]:
        rows = [row for name in ("instances", "instance_versions", "conflicts") for row in self._of(name)]
        return {(row["location"]["bucket"], row["location"]["key"]) for row in rows if row.get("location")}

    async def told(self) -> Version | None:
        found = self.collections["told"].get(self._key)
        return None if found is None else Version.model_validate(found["version"])

    async def note_told(self, version: Version) -> None:
        self._put("told", [{"_id": self._key, "version": version.model_dump()}])

    async def mark_replaced(self, manifests: Sequence[str], purged_at: datetime | None = None) -> None:
        said = {"replaced": True} if purged_at is None else {"replaced": True, "purged_at": purged_at}
        self._put("manifests", [{"_id": manifest, **said} for manifest in manifests])

    async def emit(self, topic: str, event: Event, key: str) -> None:
        self.events.append((topic, event, key))

    def _put(self, collection: str, documents: Sequence[Document]) -> None:
        for document in documents:
            self.collections[collection][document["_id"]] = dict(document)
