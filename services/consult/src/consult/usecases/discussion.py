"""The discussion in a case: its parties write, and address one another."""

from uuid import uuid4

from consult.errors import InvalidConsult, NotAllowed
from consult.model import Comment, CommentText, Consult, participants, roles_of, was_submitted
from consult.model.rules import check_key_images
from consult.ports import ConsultStore
from consult.usecases.consults import Consults
from consult.usecases.outgoing import TOPIC, consult_event
from consult.usecases.views import time_now
from imaging_common.audit import TOPIC as AUDIT_TOPIC
from imaging_common.audit import AuditTrail, who
from imaging_common.auth import Claims
from imaging_common.events import ConsultCommented
from imaging_common.people import Directory


class Discussion:
    """Comments, each with its event and its audit record."""

    def __init__(self, store: ConsultStore, consults: Consults, directory: Directory, audit: AuditTrail) -> None:
        self._store = store
        self._consults = consults
        self._directory = directory
        self._audit = audit

    async def read(self, claims: Claims, consult_id: str) -> list[Comment]:
        """The oldest first; the look is audited."""
        await self._consults.of(claims, consult_id, "view")
        found = await self._store.comments(consult_id)
        await self._audit.record(
            action="view", outcome="success", reason="discussion", consult_id=consult_id, **who(claims)
        )
        return found

    async def write(self, claims: Claims, consult_id: str, text: CommentText) -> Comment:
        """Add to the discussion of a case that was sent.

        Raises
        ------
        InvalidConsult
            It addresses somebody who has nothing to do with the case, or an image that is not of its studies.
        """
        consult = await self._consults.of(claims, consult_id, "comment")
        if not was_submitted(consult) or not roles_of(consult, claims):
            raise NotAllowed("there is nobody to talk to before the application is sent")
        if text.key_image is not None:
            check_key_images(consult.studies, [text.key_image])
        mentions = list(dict.fromkeys(text.mentions))
        for user in mentions:
            await self._check_mention(consult, user)
        now = time_now()
        said = CommentText(text=text.text, mentions=mentions, key_image=text.key_image)
        comment = Comment(
            id=uuid4().hex,
            consult_id=consult_id,
            by=claims.user,
            name=claims.name,
            hospital=claims.hospital,
            at=now,
            **dict(said),
        )
        event = consult_event(ConsultCommented, consult, now, by=claims.user, comment_id=comment.id, mentions=mentions)
        record = self._audit.event(
            action="comment", outcome="success", consult_id=consult_id, audit_id=comment.id, **who(claims)
        )
        await self._store.add_comment(comment, [(TOPIC, event, consult_id), (AUDIT_TOPIC, record, consult_id)])
        return comment

    async def _check_mention(self, consult: Consult, user: str) -> None:
        """Somebody with a part by name, or, unless the case is for named people alone, of one of its hospitals."""
        named = {one["user"] for one in participants(consult)} | {consult.applicant}
        if user in named:
            return
        person = await self._directory.person(user)
        asked = {consult.consultant_hospital} if not consult.by_name else set()
        fitting = person is not None and (
            (person.hospital == consult.applicant_hospital and "doctor" in person.roles)
            or (person.hospital in asked and bool(person.roles & {"expert", "coordinator"}))
        )
        if not fitting:
            raise InvalidConsult("a comment addresses people of this case", ["mentions"])
