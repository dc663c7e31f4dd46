"""C-FIND in the Study Root model (PS3.4 C.4.1, C.6.2): one association that stays open and is opened again."""

import asyncio
import itertools
from contextlib import AsyncExitStack
from typing import Any

from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom import build_context
from pynetdicom.dsutils import encode
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind as StudyRootFind

from edge_agent.adapters.pacs_retrieve.association import close_association, is_open, open_association
from edge_agent.adapters.pacs_slots import PacsSlots
from edge_agent.errors import PacsRefused, PacsUnreachable
from edge_agent.pacs_model import (
    ABOUT_THE_ANSWER,
    AVAILABLE_SYNTAX,
    CHARACTER_SET,
    INSTANCE,
    MODALITIES,
    PATIENT_AND_STUDY,
    SERIES,
    SERIES_UID,
    STUDY_INSTANCE_COUNT,
    STUDY_SERIES_COUNT,
    STUDY_UID,
    DicomJson,
    Found,
    StudyMatch,
)
from edge_agent.ports import PacsHealth
from edge_agent.settings import Settings
from imaging_common.dicom.errors import RejectedInstance
from imaging_common.dicom.header import HeaderWriter
from imaging_common.dicom.scan import IMPLICIT_LE, scan
from imaging_common.telemetry import get_logger

_log = get_logger(__name__)
PRIORITY = 3
"""Of the association among all to the PACS: behind what somebody waits for, before prefetch."""
SUCCESS, CANCELLED, OUT_OF_RESOURCES = 0x0000, 0xFE00, 0xA700
PENDING = (0xFF00, 0xFF01)
PATIENCE_MATCHES = 2000
"""Matches that may still come after C-CANCEL; then the association is broken off."""
YIELD_SECONDS = 0.1
"""How long another one who wants the slot is let go first."""
LEVEL = "00080052"
_STUDY_KEYS = (*PATIENT_AND_STUDY, MODALITIES, STUDY_SERIES_COUNT, STUDY_INSTANCE_COUNT)


class DimseQuery:
    """`PacsQuery` by C-FIND. One question at a time."""

    gives_headers = False

    def __init__(self, settings: Settings, slots: PacsSlots, health: PacsHealth) -> None:
        self._settings = settings
        self._slots = slots
        self._health = health
        self._turn = asyncio.Lock()
        self._slot = AsyncExitStack()
        self._assoc: Any = None
        self._yielding: asyncio.Task[None] | None = None
        self._numbers = itertools.cycle(range(1, 65000))

    async def studies(self, match: StudyMatch) -> Found:
        """See `PacsQuery`; at most `pacs_find_limit` matches."""
        return await self._ask("STUDY", _STUDY_KEYS, match.keys(), self._settings.pacs_find_limit)

    async def series(self, study_uid: str) -> list[DicomJson]:
        """See `PacsQuery`."""
        return await self._all("SERIES", SERIES, {STUDY_UID: study_uid})

    async def instances(self, study_uid: str, series_uid: str) -> list[DicomJson]:
        """See `PacsQuery`."""
        return await self._all("IMAGE", INSTANCE, {STUDY_UID: study_uid, SERIES_UID: series_uid})

    async def headers(self, study_uid: str, series_uid: str) -> list[DicomJson]:
        """C-FIND gives none."""
        raise PacsRefused("the PACS gives no whole headers")

    async def close(self) -> None:
        """See `PacsQuery`."""
        async with self._turn:
            await self._give_up()

    async def _all(self, level: str, wanted: tuple[str, ...], match: dict[str, str]) -> list[DicomJson]:
        found = await self._ask(level, wanted, match, 0)
        if not found.complete:
            raise PacsRefused(f"the PACS cut an answer at level {level} off")
        return found.studies

    async def _ask(self, level: str, wanted: tuple[str, ...], match: dict[str, str], limit: int) -> Found:
        async with self._turn:
            try:
                found = await self._try(level, wanted, match, limit)
            except PacsUnreachable as error:
                await self._give_up()
                self._health.failed(str(error))
                raise
            except PacsRefused as error:
                if self._assoc is None:  # the association itself was refused
                    await self._give_up()
                    self._health.failed(str(error))
                raise
            self._health.answered()
            if self._slots.wanted:
                await self._give_up()
                await asyncio.sleep(YIELD_SECONDS)
            return found

    async def _try(self, level: str, wanted: tuple[str, ...], match: dict[str, str], limit: int) -> Found:
        question = _question(level, wanted, match)
        if self._assoc is not None:
            try:
                return await asyncio.to_thread(self._find, question, limit)
            except PacsUnreachable:  # a PACS may close an idle association at any time
                await self._give_up()
        await self._slot.enter_async_context(self._slots.take(PRIORITY))
        self._assoc = await asyncio.to_thread(self._connect)
        if self._yielding is None or self._yielding.done():
            self._yielding = asyncio.create_task(self._yield_when_wanted())
        return await asyncio.to_thread(self._find, question, limit)

    async def _give_up(self) -> None:
        assoc, self._assoc = self._assoc, None
        if assoc is not None:
            await asyncio.to_thread(close_association, assoc)
        await self._slot.aclose()

    async def _yield_when_wanted(self) -> None:
        """Give an idle association up when something else wants its slot."""
        while self._assoc is not None:
            await asyncio.sleep(YIELD_SECONDS)
            if self._slots.wanted and not self._turn.locked():
                await self.close()

    def _connect(self) -> Any:
        settings = self._settings
        return open_association(
            settings.ae_title,
            settings.pacs_ae_title,
            (settings.pacs_host, settings.pacs_port),
            [build_context(StudyRootFind, ImplicitVRLittleEndian)],
            timeout_seconds=settings.pacs_timeout_seconds,
        )

    def _find(self, question: Dataset, limit: int) -> Found:
        assoc, message = self._assoc, next(self._numbers)
        answers: list[DicomJson] = []
        seen, cancelled, damaged = 0, False, 0
        if not is_open(assoc):
            raise PacsUnreachable("the association is closed")
        try:
            for status, identifier in assoc.send_c_find(question, StudyRootFind, message):
                code = status.get("Status")
                if code is None:
                    raise PacsUnreachable("the PACS broke a C-FIND off or was silent")
                if code not in PENDING:
                    return self._outcome(code, answers, cut=cancelled or damaged > 0)
                seen += 1
                if cancelled:
                    if seen > limit + PATIENCE_MATCHES:
                        raise PacsUnreachable("the PACS does not heed C-CANCEL")
                    continue
                one = _to_json(identifier) if identifier is not None else None
                damaged += one is None
                if one is not None:
                    answers.append(one)
                if limit and len(answers) >= limit:
                    cancelled = True
                    assoc.send_c_cancel(message, query_model=StudyRootFind)
        except (RuntimeError, ValueError, OSError) as error:
            raise PacsUnreachable(f"a C-FIND broke off: {type(error).__name__}") from error
        raise PacsUnreachable("a C-FIND ended without a status")

    @staticmethod
    def _outcome(code: int, answers: list[DicomJson], *, cut: bool) -> Found:
        if code == SUCCESS:
            return Found(answers, complete=not cut)
        if code == CANCELLED or (code == OUT_OF_RESOURCES and answers) or code & 0xF000 == 0xB000:
            return Found(answers, complete=False)
        raise PacsRefused(f"the PACS answered C-FIND with {code:04X}")


def _question(level: str, wanted: tuple[str, ...], match: dict[str, str]) -> Dataset:
    """The identifier; Specific Character Set asked for, so that the PACS may say which it answers in."""
    values: dict[str, str] = {**dict.fromkeys((CHARACTER_SET, *wanted), ""), **match, LEVEL: level}
    question = Dataset()
    for tag in sorted(values):
        question.add_new(int(tag, 16), _vr(tag, values[tag]), values[tag] or None)
    if not all(value.isascii() for value in match.values()):
        question.SpecificCharacterSet = "GB18030"
    return question


def _vr(tag: str, value: str) -> str:
    """How the value is written; Implicit VR sends none, so a pattern for UIDs may be written as text."""
    return "LO" if "*" in value else str(dictionary_VR(int(tag, 16))).split(" or ")[0]


def _to_json(identifier: Dataset) -> DicomJson | None:
    """An answer as DICOM JSON by the same writer as received files; attributes without a value are left out.

    A PACS that does not say its character set (PS3.5 §6.1.2.3 would have it ISO-IR 6) and does not answer in UTF-8 is
    taken to speak GB18030.
    """
    if "SpecificCharacterSet" not in identifier or not identifier.SpecificCharacterSet:
        identifier.SpecificCharacterSet = "GB18030" if _is_no_utf8(identifier) else "ISO_IR 192"
    data = encode(identifier, True, True)
    if data is None:
        return None
    try:
        header = HeaderWriter(data, "", False).write(scan(data, 0, IMPLICIT_LE))
    except (RejectedInstance, RecursionError) as error:
        _log.warning("answer-unreadable", error=type(error).__name__)
        return None
    return {
        tag: attribute
        for tag, attribute in header.items()
        if "Value" in attribute and (tag not in ABOUT_THE_ANSWER or tag == AVAILABLE_SYNTAX)
    }


def _is_no_utf8(identifier: Dataset) -> bool:
    for tag in list(identifier.keys()):
        value = identifier.get_item(tag).value
        if isinstance(value, bytes):
            try:
                value.decode("utf-8")
            except UnicodeDecodeError:
                return True
    return False
