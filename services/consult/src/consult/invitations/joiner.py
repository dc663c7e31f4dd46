"""Joins a submit: an expert who was invited while the case was a draft hears of it now."""

from datetime import datetime

from consult.invitations.store import InvitationBook
from consult.model import Action, Consult
from consult.usecases.joining import Joined
from imaging_common.auth import Claims


class InvitationJoiner:
    """Makes the e-mails of a draft's invitations due, in the transaction that submits it."""

    def __init__(self, book: InvitationBook) -> None:
        self._book = book

    async def join(
        self, before: Consult | None, changed: Consult, action: Action, claims: Claims, now: datetime
    ) -> Joined:
        """See `Joiner.join`."""
        if action is not Action.SUBMIT or before is None or before.submitted_at is not None or not changed.nominee:
            return Joined(changed)
        return Joined(changed, writes=[self._book.due_write(changed.id, changed.nominee, now)])
