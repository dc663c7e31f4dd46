"""Instances of one manifest enter; what they change in the index is collected, and leaves in few round trips."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import orjson

from imaging_common.objects.model import Manifest, StoredInstance
from indexer.headers import agree, header_digest
from indexer.identity import Known, Verdict, judge, judge_copy, may_point
from indexer.model import Document, Facts, aside, instance_document, location_of, series_facts, study_facts
from indexer.ports import StudyUnit


class InstanceChange:
    """Judges the instances of a batch or pack one after the other, then writes everything."""

    def __init__(self, unit: StudyUnit, manifest: Manifest) -> None:
        self._unit = unit
        self._manifest = manifest
        self._bucket = manifest.lies_in
        self._documents: dict[str, Document] = {}
        self._amended: dict[str, Document] = {}
        self._former: list[Document] = []
        self._conflicting: list[Document] = []
        self._locations_aside: dict[tuple[str, str], Document] = {}
        self._series: dict[str, Facts] = defaultdict(Facts)
        self._unlisted: Mapping[str, Document] = {}
        self._unlisted_digests: dict[str, Document] = {}
        self.study = Facts()
        self.arrived = False

    @property
    def history(self) -> bool:
        """Whether anything was put aside."""
        return bool(self._former or self._conflicting)

    @property
    def conflicts(self) -> int:
        """Instances that were kept aside for a person to decide."""
        return len(self._conflicting)

    async def take(self, chunk: Sequence[StoredInstance]) -> None:
        """Judge each instance against what is known."""
        uids = [stored.sop_instance_uid for stored in chunk]
        known: dict[str, Known | None] = dict(await self._unit.known(uids))
        present = await self._unit.study() or {}
        if present.get("unlisted"):
            self._unlisted = await self._unit.unlisted(uids)
        self.study = Facts(present.get("facts_from", ""), present=present)
        for document in await self._unit.series():
            self._series[document["series_uid"]] = Facts(document["facts_from"], present=document)
        for stored in chunk:
            uid = stored.sop_instance_uid
            if uid in self._unlisted:
                await self._keep_aside(stored, self._unlisted[uid])
            else:
                known[uid] = await self._take_one(known.get(uid), stored)

    async def _take_one(self, known: Known | None, stored: StoredInstance) -> Known:
        if known is None:
            return self._serve(stored, [])
        if self._bucket == "cache" or known.from_pacs:
            return await self._take_copy(known, stored)
        verdict = judge(known, stored)
        if verdict is Verdict.SAME:
            return self._point(known, stored)
        if verdict is Verdict.KNOWN:
            return self._point_aside(known, stored)
        return await self._take_other(verdict, known, stored)

    async def _take_copy(self, known: Known, stored: StoredInstance) -> Known:
        digest = header_digest(stored.header)
        verdict = judge_copy(known, stored, self._bucket, digest)
        if verdict is Verdict.DIFFERS:
            verdict = await self._compare(stored)
        if verdict is Verdict.SAME:
            return self._point(known, stored)
        if verdict is Verdict.KNOWN:
            return self._point_aside(known, stored)
        if verdict is Verdict.MOVED:
            return self._point(known, stored, digest)
        if verdict is Verdict.COMPLETED:
            return self._serve(stored, known.digests, digest, known.pacs_digest, fill=True)
        return await self._take_other(verdict, known, stored, digest)

    async def _take_other(
        self, verdict: Verdict, known: Known, stored: StoredInstance, digest: str | None = None
    ) -> Known:
        uid = stored.sop_instance_uid
        if verdict is not Verdict.CONFLICT:
            kept = self._conflicting if verdict is Verdict.TOOK_OVER else self._former
            kept.append(aside(await self._whole(uid)))
            return self._serve(stored, known.digests, digest, known.pacs_digest)
        self._conflicting.append(aside(instance_document(self._manifest, stored)))
        known.digests = _with(known.digests, stored.sha256)
        self._documents[uid] = {**await self._whole(uid), "digests": known.digests}
        self.arrived = True
        return known

    async def _compare(self, stored: StoredInstance) -> Verdict:
        """Against the header that is served and all it was before: what says the same was seen already."""
        served = await self._whole(stored.sop_instance_uid)
        self._documents[stored.sop_instance_uid] = served
        for document in (served, *await self._unit.versions(stored.sop_instance_uid)):
            if document.get("header") and agree(orjson.loads(document["header"]), stored.header):
                return Verdict.MOVED
        return Verdict.CORRECTION

    async def _whole(self, uid: str) -> Document:
        if uid in self._documents:
            return self._documents.pop(uid)
        (document,) = await self._unit.wholes([uid])
        return {**document, **self._amended.pop(uid, {})}

    def _serve(
        self,
        stored: StoredInstance,
        digests: Sequence[str],
        digest: str | None = None,
        pacs_digest: str | None = None,
        *,
        fill: bool = False,
    ) -> Known:
        """Serve this one. `fill`: what a catalogue says of study and series stays, only gaps are filled."""
        uid = stored.sop_instance_uid
        if digest is None and self._bucket == "cache":
            digest = header_digest(stored.header)
        self._amended.pop(uid, None)
        document = instance_document(self._manifest, stored, [d for d in digests if d != stored.sha256])
        if digest is not None:
            document |= {"header_digest": digest, "pacs_digest": pacs_digest}
        self._documents[uid] = document
        self._series[stored.series_uid].offer(uid, series_facts(stored.header), fill=fill)
        self.study.offer(uid, study_facts(stored.header), fill=fill)
        self.arrived = True
        return Known(
            stored.sha256, stored.pixel_sha256, document["digests"], self._bucket, stored.transfer_syntax_uid,
            True, digest, pacs_digest,
        )  # fmt: skip

    def _point(self, known: Known, stored: StoredInstance, digest: str | None = None) -> Known:
        """Let the served instance's bytes be these; `digest` when they are others than before."""
        fields: Document = {}
        if digest is not None and stored.sha256 not in known.digests:
            fields["digests"] = known.digests = _with(known.digests, stored.sha256)
        if may_point(self._bucket, known.bucket):
            fields["location"] = location_of(self._manifest, stored)
            known.bucket = self._bucket
            if digest is not None:
                fields |= {
                    "sha256": stored.sha256,
                    "pixel_sha256": stored.pixel_sha256,
                    "transfer_syntax_uid": stored.transfer_syntax_uid,
                    "sop_class_uid": stored.sop_class_uid,
                    "header_digest": digest,
                }
                known.sha256, known.pixel_sha256 = stored.sha256, stored.pixel_sha256
                known.transfer_syntax_uid, known.header_digest = stored.transfer_syntax_uid, digest
        if fields:
            uid = stored.sop_instance_uid
            target = self._documents[uid] if uid in self._documents else self._amended.setdefault(uid, {})
            target |= fields
        return known

    def _point_aside(self, known: Known, stored: StoredInstance) -> Known:
        if self._bucket == "archive":
            self._locations_aside[stored.sop_instance_uid, stored.sha256] = location_of(self._manifest, stored)
        return known

    async def _keep_aside(self, stored: StoredInstance, reason: Document) -> None:
        """An instance that left the study arrived: its bytes are kept track of, except copies of a PACS's."""
        if self._bucket == "cache":
            return
        uid = stored.sop_instance_uid
        if stored.sha256 in {version["sha256"] for version in await self._unit.versions(uid)}:
            if self._bucket == "archive":
                self._locations_aside[uid, stored.sha256] = location_of(self._manifest, stored)
            return
        why = {name: reason[name] for name in ("gone", "rejected_by") if name in reason}
        document = instance_document(self._manifest, stored, reason["digests"])
        self._former.append(aside(document, **why))
        self._unlisted_digests[uid] = {**reason, "digests": document["digests"]}

    async def write(self) -> None:
        """Write everything."""
        await self._unit.put_aside("instance_versions", self._former)
        await self._unit.put_aside("conflicts", self._conflicting)
        await self._unit.put_instances(list(self._documents.values()))
        await self._unit.amend(self._amended)
        await self._unit.relocate_aside(self._locations_aside)
        await self._unit.unlist(self._unlisted_digests)
        await self._unit.put_series(
            [
                {
                    "_id": f"{self._manifest.hospital}/{self._manifest.study_uid}/{series_uid}",
                    "study_key": f"{self._manifest.hospital}/{self._manifest.study_uid}",
                    "study_uid": self._manifest.study_uid,
                    "series_uid": series_uid,
                    "holder": self._manifest.hospital,
                    "facts_from": facts.source,
                    **facts.values,
                }
                for series_uid, facts in self._series.items()
                if facts.values
            ]
        )


def _with(digests: Sequence[str], digest: str) -> list[str]:
    return [*digests, *([] if digest in digests else [digest])]
