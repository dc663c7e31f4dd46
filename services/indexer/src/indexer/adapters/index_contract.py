"""What every `Index` must do with a study of a PACS; the same checks run on the fake and on MongoDB."""

from datetime import UTC, datetime
from typing import Any

from indexer.model import Announcement, Document, Tally, aside, tombstone
from indexer.ports import Fate, Index, StudyUnit

NOW = datetime(2026, 11, 24, tzinfo=UTC)


async def check_index(index: Index, holder: str, study_uid: str) -> None:
    """Write, count, move, take out and bury two instances of a study that nothing else touches."""
    key = f"{holder}/{study_uid}"
    one, two = (_instance(holder, study_uid, number) for number in (1, 2))
    place = {"bucket": "cache", "key": f"{key}/a.batch"}

    async def add(unit: StudyUnit) -> None:
        await unit.put_instances([one, two], new=True)
        await unit.put_announcement(Announcement(3, "pacs", listed=2, facts_digest="f", announced_at=NOW))

    async def look(unit: StudyUnit) -> None:
        assert await unit.tallies() == [Tally(f"{key}/s", 2, 0, 2, 0, 0, 1)]
        assert await unit.listed() == [one["sop_instance_uid"], two["sop_instance_uid"]]
        known = await unit.known([one["sop_instance_uid"], "1.9"])
        assert [(k.sha256, k.bucket, k.header_full, k.from_pacs) for k in known.values()] == [(None, None, True, True)]
        assert await unit.announcement() == Announcement(3, "pacs", listed=2, facts_digest="f", announced_at=NOW)
        first = await unit.first_of(f"{key}/s")
        assert (first or {})["header"] == b"{}"

    async def move(unit: StudyUnit) -> None:
        await unit.amend({one["sop_instance_uid"]: {"location": place, "sha256": "d", "digests": ["d"]}})
        assert await unit.tallies() == [Tally(f"{key}/s", 2, 0, 2, 1, 0, 1)]
        (lying,) = await unit.lying_in("instances", [place["key"], "other"])
        assert (lying["sop_instance_uid"], lying["location"]) == (one["sop_instance_uid"], place)

    async def leave(unit: StudyUnit) -> None:
        documents = await unit.wholes([one["sop_instance_uid"], two["sop_instance_uid"]])
        await unit.put_aside("instance_versions", [aside(document, gone=True) for document in documents])
        await unit.remove([document["sop_instance_uid"] for document in documents])
        await unit.unlist({one["sop_instance_uid"]: {"gone": True, "digests": ["d"]}})
        assert (await unit.listed(), await unit.tallies()) == ([], [])
        assert await unit.aside_counts() == {"conflicts": 0, "corrections": 2, "unlisted": 1}
        unlisted = await unit.unlisted([one["sop_instance_uid"], two["sop_instance_uid"]])
        assert [(uid, row["digests"]) for uid, row in unlisted.items()] == [(one["sop_instance_uid"], ["d"])]

    async def bury(unit: StudyUnit) -> None:
        (former,) = await unit.lying_in("instance_versions", [place["key"]])
        await unit.put_aside("instance_versions", [tombstone(former)])
        (buried,) = await unit.versions(one["sop_instance_uid"])
        assert (buried["purged"], "header" in buried, buried["location"]) == (True, False, None)
        await unit.relist([one["sop_instance_uid"]])
        await unit.mark_replaced([f"cache/{key}/a.json"])
        assert await unit.fate_of(f"cache/{key}/a.json") is Fate.REPLACED
        await unit.mark_indexed(f"cache/{key}/a.json", [])
        assert await unit.fate_of(f"cache/{key}/a.json") is Fate.REPLACED
        assert await unit.fate_of(f"cache/{key}/b.json") is Fate.NEW
        assert await unit.aside_counts() == {"conflicts": 0, "corrections": 1, "unlisted": 0}

    for work in (add, look, move, leave, bury):
        await index.change(holder, study_uid, work)
    assert await index.announced(holder, study_uid) == 3
    assert await index.announced(holder, f"{study_uid}.9") == 0
    await _check_purge(index, holder, study_uid)
    assert await index.indexed([f"cache/{key}/a.json"]) == {f"cache/{key}/a.json"}


async def _check_purge(index: Index, holder: str, study_uid: str) -> None:
    evicted, purged = f"cache/{holder}/{study_uid}/e.json", f"staging/{holder}/{study_uid}/p.json"

    async def mark(unit: StudyUnit) -> None:
        await unit.mark_replaced([evicted])
        await unit.mark_replaced([purged], NOW)

    await index.change(holder, study_uid, mark)
    assert await index.purged([evicted, purged]) == {purged: NOW}
    for name in (evicted, purged):
        await index.forget(name)
    assert await index.indexed([evicted, purged]) == {evicted}


def _instance(holder: str, study_uid: str, number: int) -> Document:
    key, uid = f"{holder}/{study_uid}", f"{study_uid}.{number}"
    document: dict[str, Any] = {
        "_id": f"{key}/{uid}",
        "study_key": key,
        "series_key": f"{key}/s",
        "study_uid": study_uid,
        "series_uid": "s",
        "sop_instance_uid": uid,
        "sop_class_uid": "1.2.840.10008.5.1.4.1.1.2",
        "holder": holder,
        "instance_number": number,
        "transfer_syntax_uid": "",
        "sha256": None,
        "pixel_sha256": None,
        "digests": [],
        "has_edge": True,
        "location": None,
        "header": b"{}",
        "header_full": number == 1,
        "header_digest": None,
        "pacs_digest": "p",
    }
    return document
