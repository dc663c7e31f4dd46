"""`Links` in memory, over the collections of a `FakeIndex`."""

from imaging_common.events import PatientLinked, PatientUnlinked, ResidentMerged
from indexer.adapters.fake_index import FakeIndex
from indexer.model import Document
from indexer.residents import heard, patient_key


class FakeLinks:
    """See `Links`."""

    def __init__(self, index: FakeIndex) -> None:
        self._index = index

    async def prepare(self) -> None:
        """See `Links.prepare`."""

    async def hear(self, event: PatientLinked | PatientUnlinked) -> Document:
        """See `Links.hear`."""
        links = self._index.collections["links"]
        key = patient_key(event.hospital, event.patient_id)
        links[key] = heard(links.get(key, {"_id": key}), event)
        return dict(links[key])

    async def behind(self, key: str, limit: int) -> tuple[Document, list[tuple[str, str]]]:
        """See `Links.behind`."""
        link = self._index.collections["links"][key]
        studies = self._index.collections["studies"].values()
        return dict(link), [
            (study["holder"], study["study_uid"])
            for study in studies
            if study["patient_key"] == key and any(study[n] != link[n] for n in ("resident_id", "linked_by"))
        ][:limit]

    async def mark_applied(self, link: Document) -> None:
        """See `Links.mark_applied`."""
        known = self._index.collections["links"][link["_id"]]
        if known["revision"] == link["revision"]:
            known["applied_revision"] = link["revision"]

    async def unapplied(self, limit: int) -> list[str]:
        """See `Links.unapplied`."""
        links = self._index.collections["links"].values()
        return [d["_id"] for d in links if d.get("revision", 0) != d.get("applied_revision", 0)][:limit]

    async def merge(self, event: ResidentMerged) -> None:
        """See `Links.merge`."""
        merges = self._index.collections["merges"]
        known = merges.get(event.resident_id)
        if known is None or (known["revision"], known["into"]) < (event.revision, event.into):
            merges[event.resident_id] = {"_id": event.resident_id, "into": event.into, "revision": event.revision}
