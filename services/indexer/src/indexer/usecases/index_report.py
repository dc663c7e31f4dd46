"""A report in the archive, an operator's word, or a DICOM document enters; the index's report leaves, at its study."""

from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from typing import Any, Protocol
from zoneinfo import ZoneInfo

import orjson
from prometheus_client import Counter
from pydantic import ValidationError

from imaging_common.events import ReportMatched
from imaging_common.objects.model import ARCHIVE_BUCKET
from imaging_common.objects.ports import ObjectNotFound
from imaging_common.objects.reports import ReportManifest, report_key, report_manifest_key, report_object_key
from imaging_common.objects.store import ObjectStore
from imaging_common.telemetry import get_logger
from indexer.errors import ForeignManifest, ReportTaken, UnreadableReport
from indexer.model import Document
from indexer.ports import Index, StudyUnit
from indexer.reports import (
    Candidate,
    Statement,
    class_of,
    compose,
    dicom_version,
    find_study,
    is_report_class,
    version_of,
)
from indexer.usecases.restate_study import restate_study

TRIES = 10
PAGE = 500
REFUSED = Counter("imaging_indexer_reports_refused", "Reports that a sweep could not take")
log = get_logger(__name__)


class Reports(Protocol):
    """The reports of the index."""

    async def put_version(self, version: Document) -> None:
        """Keep a version, unless it is there."""
        ...

    async def put_statement(self, report: str, statement: Statement) -> bool:
        """Keep an operator's word, unless one with as high a revision is known: then False."""
        ...

    async def load(self, report: str) -> tuple[list[Document], Statement | None, Document | None]:
        """All versions, the operator's word, the document."""
        ...

    async def candidates(self, hospital: str, study_uids: list[str], accessions: list[str]) -> list[Candidate]:
        """The hospital's studies with one of these UIDs or accession numbers."""
        ...

    async def replace(self, document: Document, revision: int) -> None:
        """Write the document if its revision is still `revision` (0: there is none).

        Raises
        ------
        ReportTaken
            It is not.
        """
        ...

    async def counted(self, report: str, study_keys: list[str]) -> None:
        """These studies' counts are up to date with this report."""
        ...

    async def uncounted(self, limit: int) -> list[tuple[str, list[str]]]:
        """(report, study keys) whose counts may not be up to date: a copy was killed in between."""
        ...

    async def unmatched(self, after: str, limit: int) -> list[Document]:
        """Reports in review, `_id` behind `after`; with an empty one the latest received."""
        ...

    async def known_versions(self, ids: list[str]) -> set[str]:
        """Which of these versions are kept."""
        ...

    async def work(self, limit: int) -> list[tuple[str, Any, Document | None]]:
        """(instance key, mark, the instance's document or None) of DICOM documents that changed."""
        ...

    async def done(self, instance_key: str, mark: Any) -> None:
        """That change is taken in."""
        ...


class IndexReport:
    """Every way in leads to `_settle`: the report is composed anew from all that is kept of it."""

    def __init__(
        self,
        index: Index,
        reports: Reports,
        store: ObjectStore,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        zone: tzinfo = ZoneInfo("Asia/Shanghai"),
    ) -> None:
        self._index = index
        self._reports = reports
        self._store = store
        self._now = now
        self._zone = zone

    async def take(self, key: str) -> None:
        """Index the report whose facts lie at `key` in the archive.

        Raises
        ------
        ObjectNotFound
            There is no such object: the event lies, for it comes after the object.
        UnreadableReport, ForeignManifest
            The facts cannot be read, or lie under another report's key.
        """
        try:
            manifest = ReportManifest.model_validate_json(await self._store.get(ARCHIVE_BUCKET, key))
        except ValidationError as error:
            raise UnreadableReport("a report's facts cannot be read") from error
        due = report_key(manifest.hospital, manifest.report_id)
        data_key = report_object_key(manifest.hospital, due, manifest.sha256)
        if (manifest.report_key, manifest.data_key) != (due, data_key) or report_manifest_key(data_key) != key:
            raise ForeignManifest("a report's facts lie under another key than they say")
        version = version_of(manifest)
        await self._reports.put_version(version)
        await self._settle(version["report"])

    async def match(self, event: ReportMatched) -> None:
        """Take an operator's word; it also waits for a report that is not indexed yet."""
        report = f"{event.hospital}/{event.report_key}"
        await self._reports.put_statement(report, Statement(event.study_uid, event.revision, event.user))
        await self._settle(report)

    async def sweep(self) -> int:
        """Index what no event told of; how many."""
        count, page = 0, list[str]()
        async for entry in self._store.list(ARCHIVE_BUCKET, ""):
            if "/reports/" in entry.key and entry.key.endswith(".json"):
                page.append(entry.key)
            if len(page) >= PAGE:
                count += await self._take_missing(page)
                page = []
        return count + await self._take_missing(page)

    async def _take_missing(self, keys: list[str]) -> int:
        ids = {key.replace("/reports/", "/", 1).removesuffix(".json"): key for key in keys}
        missing = ids.keys() - await self._reports.known_versions(list(ids))
        for name in sorted(missing):
            try:
                await self.take(ids[name])
            except (UnreadableReport, ForeignManifest, ObjectNotFound) as error:
                REFUSED.inc()
                log.error("report refused, the rest goes on", reason=str(error))
        return len(missing)

    async def round(self) -> int:
        """DICOM documents that changed, counts that a killed copy left behind, the latest reports in review."""
        work = await self._reports.work(PAGE)
        for instance_key, mark, instance in work:
            await self._take_instance(instance_key, instance)
            await self._reports.done(instance_key, mark)
        for report, study_keys in await self._reports.uncounted(PAGE):
            await self._count(report, study_keys)
        return len(work) + await self._rematch(await self._reports.unmatched("", PAGE))

    async def rematch_all(self) -> int:
        """Look for the studies of every report in review; how many were found."""
        count, last = 0, "!"
        while page := await self._reports.unmatched(last, PAGE):
            count += await self._rematch(page)
            last = page[-1]["_id"]
        return count

    async def _rematch(self, waiting: list[Document]) -> int:
        found = 0
        for hospital in {document["hospital"] for document in waiting}:
            own = [document for document in waiting if document["hospital"] == hospital]
            uids = [document["study_uid"] for document in own if document["study_uid"]]
            accessions = [document["accession"] for document in own if document["accession"]]
            studies = await self._reports.candidates(hospital, uids, accessions)
            for document in own:
                if studies and find_study(document, studies):
                    found += await self._settle(document["_id"])
        return found

    async def _take_instance(self, instance_key: str, instance: Document | None) -> None:
        holder, _, uid = instance_key.split("/")
        key = report_key(holder, uid)
        header = orjson.loads(instance["header"]) if instance is not None else {}
        if instance is None or not is_report_class(class_of(instance, header)):
            await self._settle(f"{holder}/{key}", gone=True)
        elif instance.get("header_full", True):
            version = dicom_version(instance, header, key, self._now(), self._zone)
            await self._reports.put_version(version)
            await self._settle(version["report"])

    async def _settle(self, report: str, *, gone: bool = False) -> bool:
        """Compose the report and bring its studies' counts up to date; whether it changed."""
        for _ in range(TRIES):
            versions, statement, present = await self._reports.load(report)
            if not versions:
                return False
            try:
                return await self._write(report, versions, statement, present, gone=gone)
            except ReportTaken:
                continue
        raise ReportTaken("a report changes faster than it can be written")

    async def _write(
        self,
        report: str,
        versions: list[Document],
        statement: Statement | None,
        present: Document | None,
        *,
        gone: bool,
    ) -> bool:
        newest = max(versions, key=lambda v: (v["issued_at"], v["received_at"], v["sha256"]))
        uids = [uid for uid in (newest["study_uid"], statement.study_uid if statement else None) if uid]
        accessions = [newest["accession"]] if newest["accession"] else []
        studies = await self._reports.candidates(newest["hospital"], uids, accessions)
        document = compose([{**version, "gone": gone} for version in versions], statement, present, studies)
        document.pop("gone", None)
        before = present or {}
        keys = {document["study_key"], before.get("study_key"), *before.get("uncounted", [])} - {None}
        same = {name: before.get(name) for name in document} == document
        if same and not before.get("uncounted"):
            return False
        revision = before.get("revision", 0)
        await self._reports.replace(document | {"revision": revision + 1, "uncounted": sorted(keys)}, revision)
        await self._count(report, sorted(keys))
        return not same

    async def _count(self, report: str, study_keys: list[str]) -> None:
        """Each study says how many reports it has; a study that is not there is not made."""
        for key in study_keys:
            holder, study_uid = key.split("/")
            tier = await self._index.tier_of(holder)

            async def work(unit: StudyUnit, holder: str = holder, uid: str = study_uid, tier: str = tier) -> None:
                if await unit.study() is not None:
                    state = {"report_count": await unit.report_count()}
                    epoch, now = self._index.epoch, self._now()
                    await restate_study(unit, holder, uid, tier=tier, epoch=epoch, now=now, state=state, recount=False)

            await self._index.change(holder, study_uid, work)
        await self._reports.counted(report, study_keys)
