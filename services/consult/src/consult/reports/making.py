"""The stages of a version's outputs: gather and print, store in the centre, send to the applicant's hospital.

Each stage is written down together with what the case says of it; done again after a kill it makes the same objects
under the same names, and so changes nothing.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta

from consult.model import Consult, Outputs, Study
from consult.ports import Change, ConsultStore, Files, Outgoing
from consult.reports.dicom import ENCAPSULATED_PDF, KEY_OBJECT_SELECTION, encapsulated_pdf, instance_uid, key_objects
from consult.reports.gathering import Gathering
from consult.reports.identity import pdf_id, write_back_id
from consult.reports.model import OutputsTask, Page, ReportObject, Stage
from consult.reports.ports import Press, ReportArchive, ReportBook
from imaging_common.events import ManifestEntry, ReportWriteBackRequested

PATIENT_ATTEMPTS = 6
"""So often the pictures and headers are waited for; then it is printed with what there is."""
WRITE_BACK_TIME = timedelta(days=1)
ATTEMPTS = 8
NOWHERE = "the case's study is no longer in the region: the report was printed and not filed as DICOM"
Telling = Callable[[Consult], Outgoing]


class Making:
    """Takes a task one stage on."""

    def __init__(
        self,
        store: ConsultStore,
        book: ReportBook,
        files: Files,
        gathering: Gathering,
        press: Press,
        archive: ReportArchive,
    ) -> None:
        self._store = store
        self._book = book
        self._files = files
        self._gathering = gathering
        self._press = press
        self._archive = archive

    async def step(self, task: OutputsTask, now: datetime) -> OutputsTask:
        """Do its stage and keep that it is done.

        Raises
        ------
        SourceUnavailable
            Something that is needed is away.
        LeaseLost
            Another copy of the service has it.
        """
        match task.stage:
            case Stage.GATHER:
                return await self._gather(task)
            case Stage.STORE:
                return await self._store_objects(task)
            case _:
                return await self._send(task, now)

    async def keep(self, task: OutputsTask, lease: datetime, telling: Telling = lambda _: ()) -> None:
        """What became of a version, in its task and in the case, in one transaction; no transition of the case.

        Parameters
        ----------
        telling
            What is sent with it, of the case as it is then.
        """
        for _ in range(ATTEMPTS):
            consult = await self._store.get(task.consult_id)
            assert consult is not None, "a case with a report is never deleted"
            change = Change(consult, with_outputs(consult, task.version, task.outputs), telling(consult))
            if await self._store.commit([change], writes=[self._book.keeping(task, lease)]):
                return
        raise TimeoutError("the case changes faster than its outputs can be written down")

    async def _gather(self, task: OutputsTask) -> OutputsTask:
        page = await self._gathering.page(task, patient=task.attempts < PATIENT_ATTEMPTS)
        pdf = await self._press.print(page)
        file_id = pdf_id(task.consult_id, task.version)
        await self._files.delete(file_id)
        await self._files.put(file_id, task.consult_id, f"{page.consult.number}-v{task.version}.pdf", _chunks(pdf))
        bare = page.model_copy(
            update={"pictures": [picture.model_copy(update={"jpeg": None}) for picture in page.pictures]}
        )
        outputs = task.outputs.model_copy(update={"pdf_sha256": hashlib.sha256(pdf).hexdigest(), "failure": ""})
        return await self._next(task, Stage.STORE, outputs, page=bare)

    async def _store_objects(self, task: OutputsTask) -> OutputsTask:
        page = task.page
        assert page is not None, "printed before"
        if not page.study:
            outputs = task.outputs.model_copy(update={"failure": NOWHERE})
            return await self._next(task, Stage.DONE, outputs)
        files = await asyncio.to_thread(_files, page, await self._pdf(task))
        study = _filed(page)
        signed = page.report.signature
        await self._archive.store(
            study,
            [data for _, data in files],
            user=page.report.author,
            hospital=signed.hospital if signed else page.consult.consultant_hospital,
        )
        known = {one.sop_class_uid: one for one, _ in files}
        keys = known.get(KEY_OBJECT_SELECTION)
        made = {
            "pdf_instance_uid": known[ENCAPSULATED_PDF].sop_instance_uid,
            "key_objects_instance_uid": keys.sop_instance_uid if keys else "",
            "stored": True,
            "failure": "",
        }
        own = study.holder == task.applicant_hospital
        outputs = task.outputs.model_copy(update=made)
        return await self._next(task, Stage.SEND if own else Stage.DONE, outputs, objects=[one for one, _ in files])

    async def _send(self, task: OutputsTask, now: datetime) -> OutputsTask:
        page = task.page
        assert page is not None, "printed before"
        study = _filed(page)
        asked = write_back_id(task.consult_id, task.version, task.applicant_hospital)
        command = ReportWriteBackRequested(
            write_back_id=asked,
            consult_id=task.consult_id,
            report_version=task.version,
            study_uid=study.study_uid,
            holder=study.holder,
            instances=[ManifestEntry(sop_instance_uid=o.sop_instance_uid, sha256=o.sha256) for o in task.objects],
            deadline=now + WRITE_BACK_TIME,
        )
        outputs = task.outputs.model_copy(update={"delivery": "requested", "failure": ""})
        sent = (f"edge-commands-{task.applicant_hospital}", command, study.study_uid)
        return await self._next(task, Stage.DONE, outputs, [sent], write_back_id=asked)

    async def _next(
        self, task: OutputsTask, stage: Stage, outputs: Outputs, sent: Outgoing = (), **more: object
    ) -> OutputsTask:
        update = {"stage": stage, "outputs": outputs, "attempts": 0, "failure": "", **more}
        done = task.model_copy(update=update)
        await self.keep(done, task.due_at, lambda _: sent)
        return done

    async def _pdf(self, task: OutputsTask) -> bytes:
        chunks = await self._files.get(pdf_id(task.consult_id, task.version))
        assert chunks is not None, "the printed PDF is kept before its stage is written down"
        return b"".join([chunk async for chunk in chunks])


def with_outputs(consult: Consult, version: int, outputs: Outputs) -> Consult:
    """The case with what was made of a version, where that is the one that counts."""
    report = consult.report
    if report is None or report.version != version:
        return consult
    return consult.model_copy(update={"report": report.model_copy(update={"outputs": outputs})})


def _filed(page: Page) -> Study:
    return Study(study_uid=page.study["0020000D"]["Value"][0], holder=page.holder)


def _files(page: Page, pdf: bytes) -> list[tuple[ReportObject, bytes]]:
    """The DICOM objects of a version. Blocking."""
    made = [(ENCAPSULATED_PDF, "pdf", encapsulated_pdf(page, pdf)), (KEY_OBJECT_SELECTION, "keys", key_objects(page))]
    return [
        (
            ReportObject(
                sop_instance_uid=instance_uid(page, "pdf" if kind == "pdf" else "key-objects"),
                sop_class_uid=sop_class_uid,
                sha256=hashlib.sha256(data).hexdigest(),
            ),
            data,
        )
        for sop_class_uid, kind, data in made
        if data is not None
    ]


async def _chunks(data: bytes) -> AsyncIterator[bytes]:
    yield data


def due_now(task: OutputsTask, now: datetime) -> OutputsTask:
    """The task, to be tried at once; what its hospital's PACS did not take is sent to it again."""
    stage = task.stage
    if stage is Stage.DONE and task.outputs.failure:
        stage = Stage.SEND if task.outputs.stored else Stage.GATHER
    outputs = task.outputs.model_copy(update={"failure": ""})
    return task.model_copy(update={"stage": stage, "due_at": now, "attempts": 0, "outputs": outputs})
