"""Files of a case: documents, pictures, lab results, scans of a consent. What they are is told by their content."""

import hashlib
from collections.abc import AsyncIterator
from typing import Literal
from uuid import uuid4

from consult.errors import InvalidConsult, NotAllowed, NotFound
from consult.model import ENDED, Attachment, Consult, Role, State, roles_of
from consult.ports import Change, ConsultStore, Files
from consult.usecases.consults import ATTEMPTS, Consults
from consult.usecases.views import conflict, time_now
from imaging_common.audit import AuditTrail, who
from imaging_common.auth import Claims

MAX_BYTES = 20 * 1024 * 1024
MAX_FILES = 50
HEAD_BYTES = 8
MediaType = Literal["application/pdf", "image/png", "image/jpeg"]
Kind = Literal["document", "picture", "lab", "consent"]
BEGINNINGS: dict[bytes, MediaType] = {
    b"%PDF-": "application/pdf",
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
}
WRITERS = frozenset({Role.APPLICANT, Role.EXPERT, Role.COORDINATOR, Role.PANEL})
"""Who may add a file to an open case."""


class Attachments:
    """Added by the parties of an open case, read by whoever sees it; the applicant takes back what is not sent yet."""

    def __init__(self, store: ConsultStore, files: Files, consults: Consults, audit: AuditTrail) -> None:
        self._store = store
        self._files = files
        self._consults = consults
        self._audit = audit

    async def add(
        self, claims: Claims, consult_id: str, kind: Kind, name: str, chunks: AsyncIterator[bytes]
    ) -> Attachment:
        """Keep a file as it comes in; nothing is kept of one that is too large or of another type."""
        consult = await self._consults.of(claims, consult_id, "apply")
        await self._check_writer(claims, consult)
        read = _Reading(chunks)
        file_id = uuid4().hex
        await self._files.put(file_id, consult_id, name, read.checked())
        attachment = Attachment(
            id=file_id,
            kind=kind,
            name=name,
            media_type=read.media_type(),
            size=read.size,
            sha256=read.digest.hexdigest(),
            by=claims.user,
            at=time_now(),
        )
        try:
            await self._change(claims, consult_id, attachment)
        except BaseException:
            await self._files.delete(file_id)
            raise
        return attachment

    async def of_case(self, claims: Claims, consult_id: str) -> list[Attachment]:
        """What files a case has."""
        return (await self._consults.of(claims, consult_id, "view")).attachments

    async def read(self, claims: Claims, consult_id: str, file_id: str) -> tuple[Attachment, AsyncIterator[bytes]]:
        """A file of a case that this person sees; the look is audited first."""
        consult = await self._consults.of(claims, consult_id, "view")
        found = _find(consult, file_id)
        chunks = await self._files.get(file_id)
        if chunks is None:
            raise NotFound("there is no such file")
        await self._audit.record(
            action="view", outcome="success", reason="attachment", consult_id=consult_id, **who(claims)
        )
        return found, chunks

    async def delete(self, claims: Claims, consult_id: str, file_id: str) -> None:
        """Take back one's own file, while the application is being written."""
        for _ in range(ATTEMPTS):
            consult = await self._consults.of(claims, consult_id, "apply")
            found = _find(consult, file_id)
            if consult.state not in (State.DRAFT, State.RETURNED) or found.by != claims.user or consult.children:
                await self._consults.deny(claims, "apply", "not-the-writer", consult_id)
                raise NotAllowed("only what you added yourself, and while the application is written")
            kept = [one for one in consult.attachments if one.id != file_id]
            if await self._store.commit([Change(consult, consult.model_copy(update={"attachments": kept}))]):
                await self._files.delete(file_id)
                return
        raise conflict(consult)

    async def _change(self, claims: Claims, consult_id: str, attachment: Attachment) -> None:
        for _ in range(ATTEMPTS):
            consult = await self._consults.of(claims, consult_id, "apply")
            await self._check_writer(claims, consult)
            if len(consult.attachments) >= MAX_FILES:
                raise InvalidConsult(f"a case holds at most {MAX_FILES} files")
            update = {"attachments": [*consult.attachments, attachment]}
            if await self._store.commit([Change(consult, consult.model_copy(update=update))]):
                return
        raise conflict(consult)

    async def _check_writer(self, claims: Claims, consult: Consult) -> None:
        if consult.state in ENDED or not roles_of(consult, claims) & WRITERS:
            await self._consults.deny(claims, "apply", "may-not-attach", consult.id)
            raise NotAllowed("only those who work on an open case add files to it")


class _Reading:
    """Bytes on their way: counted, hashed, and refused when they are too many or of no known type."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self._head = b""
        self.size = 0
        self.digest = hashlib.sha256()

    async def checked(self) -> AsyncIterator[bytes]:
        async for chunk in self._chunks:
            self.size += len(chunk)
            if self.size > MAX_BYTES:
                raise InvalidConsult("the file is larger than 20 MB", ["file"])
            if len(self._head) < HEAD_BYTES:
                self._head += chunk[:HEAD_BYTES]
                if len(self._head) >= HEAD_BYTES:
                    self.media_type()
            self.digest.update(chunk)
            yield chunk
        self.media_type()

    def media_type(self) -> MediaType:
        """By the first bytes, whatever its name says."""
        for beginning, media_type in BEGINNINGS.items():
            if self._head.startswith(beginning):
                return media_type
        raise InvalidConsult("a file is a PDF, a PNG or a JPEG", ["file"])


def _find(consult: Consult, file_id: str) -> Attachment:
    for attachment in consult.attachments:
        if attachment.id == file_id:
            return attachment
    raise NotFound("there is no such file")
