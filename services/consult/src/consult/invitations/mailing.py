"""The e-mails of invitations: sent by the identity provider, asked for until it has taken them."""

from dataclasses import dataclass
from datetime import timedelta

import structlog

from consult.errors import NotFound
from consult.invitations.model import Invitation
from consult.invitations.store import InvitationBook
from consult.model import ENDED
from consult.ports import Clock, ConsultStore
from imaging_common.errors import RetryableError
from imaging_common.people import Accounts
from imaging_common.repeating import Repeating

POLL_SECONDS = 5.0
LEASE = timedelta(seconds=60)
"""So long a copy of the service has one to itself; then it is tried again."""
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Links:
    """Where the links of invitations lead, and how long they are good."""

    portal_url: str
    hospital: str
    """The hospital of the level `outside` that invited experts are of."""
    seconds: int

    def case(self, case_id: str) -> str:
        """The case's page."""
        return f"{self.portal_url.rstrip('/')}/portal/consults/{case_id}"


class InvitationMail:
    """Sends what is due; a copy that dies in between leaves it to another."""

    def __init__(
        self, store: ConsultStore, book: InvitationBook, accounts: Accounts, links: Links, clock: Clock
    ) -> None:
        self.links = links
        self._store = store
        self._book = book
        self._accounts = accounts
        self._clock = clock
        self._loop = Repeating("invitations", self.send_due, POLL_SECONDS)

    async def start(self) -> None:
        """Begin to send what is due."""
        await self._loop.start()

    async def stop(self) -> None:
        """Stop; what is due stays due."""
        await self._loop.stop()

    async def send_due(self) -> int:
        """Every e-mail that is due now; how many the provider took."""
        sent = 0
        while (due := await self._book.claim(self._clock(), self._clock() + LEASE)) is not None:
            sent += (await self.send(due)).due_at is None
        return sent

    async def send(self, invitation: Invitation) -> Invitation:
        """One e-mail, where it is of use: who has a password finds the case in the portal. Not taken: it stays due."""
        case = await self._store.get(invitation.case_id)
        if case is None:
            raise NotFound("there is no such consult")
        now, mailed_at = self._clock(), invitation.mailed_at
        try:
            if case.state not in ENDED and not await self._accounts.has_password(invitation.user):
                await self._accounts.send_link(invitation.user, self.links.case(case.id), self.links.seconds)
                mailed_at = now
        except RetryableError as error:
            _log.warning("invitation-not-sent", consult_id=case.id, error=type(error).__name__)
            return invitation
        done = invitation.model_copy(update={"due_at": None, "mailed_at": mailed_at})
        await self._book.keep(done)
        return done

    def link_is_good(self, invitation: Invitation) -> bool:
        """Whether the last link that was sent still leads somewhere."""
        mailed_at = invitation.mailed_at
        return mailed_at is not None and self._clock() < mailed_at + timedelta(seconds=self.links.seconds)
