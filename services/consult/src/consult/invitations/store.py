"""Which invitations were given, and which account belongs to an address: digests, never the address."""

from datetime import datetime
from typing import Any, Protocol

from pymongo import ReturnDocument
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from consult.invitations.model import Invitation
from consult.ports import Writing
from imaging_common.mongo import ensure_index


class InvitationBook(Protocol):
    """Keeps invitations and the accounts that were made for them."""

    async def get(self, invitation_id: str) -> Invitation | None:
        """An invitation that was given."""
        ...

    async def keep(self, invitation: Invitation) -> None:
        """Write it down, in place of what was known of it."""
        ...

    async def claim(self, now: datetime, until: datetime) -> Invitation | None:
        """One whose e-mail is due, for this caller alone until then; None: there is none."""
        ...

    def due_write(self, case_id: str, user: str, now: datetime) -> Writing:
        """The e-mail of this person's invitation to this case becomes due, within a transition's transaction."""
        ...

    async def account(self, address: str, proposed: str) -> str:
        """The account of an address (its digest): `proposed` the first time, and the same ever after."""
        ...


class MongoInvitationBook:
    """`InvitationBook` on MongoDB: collections `invitations` and `invited`."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]]) -> None:
        self._invitations = database["invitations"]
        self._invited = database["invited"]

    async def prepare(self) -> None:
        """Make the indexes."""
        await ensure_index(self._invitations, [("due_at", 1)], sparse=True)
        await self._invitations.create_index([("case_id", 1), ("user", 1)])

    async def get(self, invitation_id: str) -> Invitation | None:
        """See `InvitationBook.get`."""
        found = await self._invitations.find_one({"_id": invitation_id})
        return Invitation.model_validate({"id": found["_id"], **found}) if found else None

    async def keep(self, invitation: Invitation) -> None:
        """See `InvitationBook.keep`."""
        document = invitation.model_dump(exclude={"id"})
        await self._invitations.replace_one({"_id": invitation.id}, document, upsert=True)

    async def claim(self, now: datetime, until: datetime) -> Invitation | None:
        """See `InvitationBook.claim`."""
        found = await self._invitations.find_one_and_update(
            {"due_at": {"$lte": now}}, {"$set": {"due_at": until}}, sort=[("due_at", 1)],
            return_document=ReturnDocument.AFTER,
        )  # fmt: skip
        return Invitation.model_validate({"id": found["_id"], **found}) if found else None

    def due_write(self, case_id: str, user: str, now: datetime) -> Writing:
        """See `InvitationBook.due_write`."""

        async def write(session: AsyncClientSession) -> None:
            theirs = {"case_id": case_id, "user": user, "mailed_at": None}
            await self._invitations.update_many(theirs, {"$set": {"due_at": now}}, session=session)

        return write

    async def account(self, address: str, proposed: str) -> str:
        """See `InvitationBook.account`."""
        try:
            found = await self._invited.find_one_and_update(
                {"_id": address},
                {"$setOnInsert": {"user": proposed}},
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
        except DuplicateKeyError:
            found = await self._invited.find_one({"_id": address})
        assert found is not None
        return str(found["user"])


class FakeInvitationBook:
    """`InvitationBook` in memory."""

    def __init__(self) -> None:
        self.given: dict[str, Invitation] = {}
        self.accounts: dict[str, str] = {}

    async def get(self, invitation_id: str) -> Invitation | None:
        """See `InvitationBook.get`."""
        return self.given.get(invitation_id)

    async def keep(self, invitation: Invitation) -> None:
        """See `InvitationBook.keep`."""
        self.given[invitation.id] = invitation

    async def claim(self, now: datetime, until: datetime) -> Invitation | None:
        """See `InvitationBook.claim`."""
        due = [one for one in self.given.values() if one.due_at is not None and one.due_at <= now]
        if not due:
            return None
        self.given[due[0].id] = due[0].model_copy(update={"due_at": until})
        return self.given[due[0].id]

    def due_write(self, case_id: str, user: str, now: datetime) -> Writing:
        """See `InvitationBook.due_write`."""

        async def write(_: AsyncClientSession) -> None:
            for one in list(self.given.values()):
                if (one.case_id, one.user, one.mailed_at) == (case_id, user, None):
                    self.given[one.id] = one.model_copy(update={"due_at": now})

        return write

    async def account(self, address: str, proposed: str) -> str:
        """See `InvitationBook.account`."""
        return self.accounts.setdefault(address, proposed)
