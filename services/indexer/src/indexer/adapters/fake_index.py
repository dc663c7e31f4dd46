"""`Index` in memory, for unit tests: a transaction works on a copy that takes the original's place."""

import copy
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime

from imaging_common.events import Event, HospitalRegistered
from imaging_common.index.fake import FakeIndexReader
from indexer.errors import VersionTaken
from indexer.model import Announcement, Document, Known, Tally
from indexer.ports import StudyUnit

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
        return [d for d in self.collections["instances"].values() if d["study_key"] == self._key]

    async def known(self, sop_instance_uids: Sequence[str]) -> dict[str, Known]:
        wanted = set(sop_instance_uids)
        return {
            d["sop_instance_uid"]: Known(d["sha256"], d["pixel_sha256"], list(d["digests"]), d["location"]["key"])
            for d in self._instances()
            if d["sop_instance_uid"] in wanted
        }

    async def whole(self, sop_instance_uid: str) -> Document:
        return dict(self.collections["instances"][f"{self._key}/{sop_instance_uid}"])

    async def arrived(self) -> Mapping[str, list[str]]:
        return {d["sop_instance_uid"]: d["digests"] for d in self._instances()}

    async def tallies(self) -> list[Tally]:
        tallies: dict[str, Tally] = {}
        for document in self._instances():
            tally = tallies.setdefault(document["series_key"], Tally(document["series_key"], 0, 0, 0))
            stored = document["location"]["bucket"] == "archive"
            tallies[tally.series_key] = Tally(
                tally.series_key,
                tally.instances + 1,
                tally.stored + stored,
                tally.with_edge + document["has_edge"],
            )
        return list(tallies.values())

    async def conflict_count(self) -> int:
        return sum(d["study_key"] == self._key for d in self.collections["conflicts"].values())

    async def correction_count(self) -> int:
        return sum(d["study_key"] == self._key for d in self.collections["instance_versions"].values())

    async def announcement(self) -> Announcement | None:
        found = self.collections["announcements"].get(self._key)
        return None if found is None else found["value"]

    async def put_announcement(self, announcement: Announcement) -> None:
        self.collections["announcements"][self._key] = {"_id": self._key, "value": announcement}

    async def put_instances(self, documents: Sequence[Document]) -> None:
        self._put("instances", documents)

    async def relocate(self, locations: Mapping[str, Document]) -> None:
        for uid, location in locations.items():
            self.collections["instances"][f"{self._key}/{uid}"]["location"] = location

    async def put_aside(self, collection: str, documents: Sequence[Document]) -> None:
        self._put(collection, documents)

    async def relocate_aside(self, locations: Mapping[tuple[str, str], Document]) -> None:
        for (uid, sha256), location in locations.items():
            for collection in ("instance_versions", "conflicts"):
                found = self.collections[collection].get(f"{self._key}/{uid}/{sha256}")
                if found:
                    found["location"] = location

    async def put_series(self, documents: Sequence[Document]) -> None:
        merged = [{**self.collections["series"].get(d["_id"], {}), **d} for d in documents]
        self._put("series", merged)

    async def put_study(self, document: Document, *, replaces: Mapping[str, int]) -> None:
        present = self.collections["studies"].get(self._key, {"version": {"epoch": 0, "n": 0}})
        if present["version"] != replaces:
            raise VersionTaken("the study changed meanwhile")
        self._put("studies", [document])

    async def replaced(self, manifest: str) -> bool:
        return bool(self.collections["manifests"].get(manifest, {}).get("replaced"))

    async def mark_indexed(self, manifest: str, replaces: Sequence[str]) -> None:
        self.collections["manifests"].setdefault(manifest, {"_id": manifest})
        self._put("manifests", [{"_id": old, "replaced": True} for old in replaces])

    async def emit(self, topic: str, event: Event, key: str) -> None:
        self.events.append((topic, event, key))

    def _put(self, collection: str, documents: Sequence[Document]) -> None:
        for document in documents:
            self.collections[collection][document["_id"]] = dict(document)
