"""Reading issued versions, what changed between two, trying their outputs again, verification codes, phrases."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from pydantic import BaseModel

from consult.errors import NotFound
from consult.model import Report
from consult.ports import Clock, ConsultStore, Files
from consult.reports.difference import ReportDifference, difference
from consult.reports.identity import pdf_id
from consult.reports.making import Making, due_now
from consult.reports.phrases import Phrase
from consult.reports.ports import LeaseLost, PhraseBook, ReportBook
from consult.reports.verification import read_code
from consult.usecases import Consults
from consult.usecases.consults import EHR_ROLE
from imaging_common.audit import AuditTrail, who
from imaging_common.auth import Claims


class Verified(BaseModel):
    """What a verification code stands for: nothing of the content, and nobody's name."""

    number: str
    version: int
    issued_at: datetime
    hospital: str
    """Id of the hospital that signed."""
    latest_version: int
    superseded: bool


class Reports:
    """For a case's parties; a look is audited before it is answered."""

    def __init__(
        self,
        consults: Consults,
        store: ConsultStore,
        book: ReportBook,
        phrases: PhraseBook,
        files: Files,
        making: Making,
        audit: AuditTrail,
        clock: Clock,
    ) -> None:
        self._consults = consults
        self._store = store
        self._book = book
        self._phrases = phrases
        self._files = files
        self._making = making
        self._audit = audit
        self._clock = clock

    async def versions(self, claims: Claims, consult_id: str) -> list[Report]:
        """All issued versions, the oldest first."""
        await self._look(claims, consult_id)
        return await self._book.versions(consult_id)

    async def version(self, claims: Claims, consult_id: str, version: int) -> Report:
        """One of them."""
        await self._look(claims, consult_id)
        return await self._version(consult_id, version)

    async def difference(self, claims: Claims, consult_id: str, a: int, b: int) -> ReportDifference:
        """What changed from version `a` to version `b`, by field, in words."""
        await self._look(claims, consult_id)
        earlier, later = await self._version(consult_id, a), await self._version(consult_id, b)
        return difference(earlier.text(), later.text(), a, b)

    async def pdf(self, claims: Claims, consult_id: str, version: int) -> tuple[str, AsyncIterator[bytes]]:
        """The PDF's name and its bytes, to the EHR of the residents too; `NotFound` until it is made."""
        await self._look(claims, consult_id, ehr=True)
        task = await self._book.task(consult_id, version)
        chunks = await self._files.get(pdf_id(consult_id, version)) if task and task.outputs.pdf_sha256 else None
        if task is None or chunks is None:
            raise NotFound("there is no PDF of this version yet: it is being made, or the version does not exist")
        return f"{task.issued.number}-v{version}.pdf", chunks

    async def retry(self, claims: Claims, consult_id: str, version: int) -> Report:
        """Try at once what was not made, stored or delivered; the version as it is then."""
        await self._look(claims, consult_id)
        while (task := await self._book.task(consult_id, version)) is not None and task.outputs.failure:
            try:
                await self._making.keep(due_now(task, self._clock()), task.due_at)
            except LeaseLost:
                continue
            break
        return await self._version(consult_id, version)

    async def verify(self, typed: str) -> Verified:
        """What a code stands for, for whoever holds it."""
        task = await self._book.by_code(read_code(typed))
        consult = await self._store.get(task.consult_id) if task else None
        if task is None or consult is None or consult.report is None or task.issued.report is None:
            raise NotFound("no report has this code")
        issued, latest = task.issued, consult.report.version
        assert task.issued.report.issued_at is not None
        return Verified(
            number=issued.number,
            version=task.version,
            issued_at=task.issued.report.issued_at,
            hospital=issued.expert_hospital or issued.consultant_hospital,
            latest_version=latest,
            superseded=latest > task.version,
        )

    async def phrases(self, claims: Claims) -> list[Phrase]:
        """This person's own."""
        return await self._phrases.phrases(claims.user)

    async def keep_phrases(self, claims: Claims, phrases: Sequence[Phrase]) -> None:
        """Replace them."""
        await self._phrases.keep_phrases(claims.user, phrases)

    async def _look(self, claims: Claims, consult_id: str, *, ehr: bool = False) -> None:
        if not (ehr and EHR_ROLE in claims.roles):
            await self._consults.of(claims, consult_id, "view")
        await self._audit.record(action="view", outcome="success", consult_id=consult_id, **who(claims))

    async def _version(self, consult_id: str, version: int) -> Report:
        found = [one for one in await self._book.versions(consult_id) if one.version == version]
        if not found:
            raise NotFound("this version was not issued")
        return found[0]
