"""Invite an expert from outside the region: account, part in the case, e-mail; each step may be taken again."""

from uuid import uuid4

from consult.errors import Conflict, InvalidConsult, NotAllowed
from consult.invitations.mailing import LEASE, InvitationMail
from consult.invitations.model import Invitation, Invite, action_for, digest_of
from consult.invitations.store import InvitationBook
from consult.model import Action, Consult, Order, Target, TargetKind
from consult.ports import Clock, ConsultStore, HospitalBook
from consult.usecases import Consults
from imaging_common.audit import AuditTrail, who
from imaging_common.auth import Claims
from imaging_common.people import Accounts, AddressTaken, Directory, NewAccount

EXPERT_ROLE = "expert"
ATTEMPTS = 4
"""How often a part is given anew because somebody else changed the case meanwhile."""


class Invitations:
    """A part first, then the e-mail: whoever gets one finds the case behind its link."""

    def __init__(
        self, store: ConsultStore, consults: Consults, book: InvitationBook, accounts: Accounts, directory: Directory,
        hospitals: HospitalBook, audit: AuditTrail, mail: InvitationMail, clock: Clock,
    ) -> None:  # fmt: skip
        self._store = store
        self._consults = consults
        self._book = book
        self._accounts = accounts
        self._directory = directory
        self._hospitals = hospitals
        self._audit = audit
        self._mail = mail
        self._outside = mail.links.hospital
        self._clock = clock

    async def invite(self, claims: Claims, invite: Invite, token: str) -> Invitation:
        """Once per case and address; again, it only sends the link again when the last one is no good any more.

        Raises
        ------
        NotFound, NotAllowed, InvalidConsult, Conflict
            The case is not theirs to open, or not now.
        DirectoryUnavailable
            The identity provider does not answer: nothing is lost, ask again.
        """
        consult = await self._consults.of(claims, invite.consult_id, "invite")
        key = digest_of(consult.id, invite.email)
        known = await self._book.get(key)
        if known is None:
            level = await self._hospitals.level(consult.consultant_hospital) if consult.consultant_hospital else None
            try:
                action = action_for(consult, claims, invite.part, level or "")
            except NotAllowed:
                await self._consults.deny(claims, "invite", "not-who-has-the-case", consult.id)
                raise
            user = await self._account(invite)
            case_id = await self._give_part(claims, consult, action, user, invite, token)
            now = self._clock()
            due_at = now + LEASE if consult.submitted_at is not None else None
            known = Invitation(
                id=key, consult_id=consult.id, user=user, case_id=case_id, by=claims.user, at=now, due_at=due_at
            )
            await self._audit.record(action="invite", outcome="success", consult_id=consult.id, **who(claims))
            await self._book.keep(known)
            return await self._mail.send(known) if due_at else known
        if known.by != claims.user:
            action_for(consult, claims, invite.part, await self._hospitals.level(consult.consultant_hospital) or "")
        if consult.submitted_at is None or known.due_at is not None or self._mail.link_is_good(known):
            return known
        return await self._mail.send(known)

    async def _account(self, invite: Invite) -> str:
        """The account of this address: of who is of the hospital outside, or was invited before, or a new one."""
        there = await self._directory.group(self._outside, EXPERT_ROLE)
        of_old = next((one.user for one in there if one.email.lower() == invite.email), None)
        user = of_old or await self._book.account(digest_of(invite.email), f"invited-{uuid4().hex[:12]}")
        if of_old is None:
            account = NewAccount(user, invite.name, invite.email, self._outside, EXPERT_ROLE, invite.language)
            try:
                await self._accounts.make(account)
            except AddressTaken as error:
                text = "somebody of this region has this address already: choose them from the list of experts"
                raise InvalidConsult(text, ["email"]) from error
        return user

    async def _give_part(
        self, claims: Claims, consult: Consult, action: Action | None, user: str, invite: Invite, token: str
    ) -> str:
        """Make them a party; the case they see. Whoever has this part already keeps it."""
        for attempt in range(ATTEMPTS):
            if case_id := await self._part_of(consult, action, user):
                return case_id
            try:
                return await self._take(claims, consult, action, user, invite, token)
            except Conflict:
                if attempt == ATTEMPTS - 1:
                    raise
                consult = await self._consults.of(claims, consult.id, "invite")
        raise AssertionError("unreachable")

    async def _part_of(self, consult: Consult, action: Action | None, user: str) -> str:
        """The case in which they have this part already; empty: none."""
        if action is Action.ASK_PANEL:
            member = any(one.user == user and not one.excused for one in consult.panel)
            return consult.id if member else ""
        if action is None:
            return consult.id if consult.nominee == user else ""
        children = [await self._store.get(child_id) for child_id in consult.children]
        return next((child.id for child in children if child is not None and child.nominee == user), "")

    async def _take(
        self, claims: Claims, consult: Consult, action: Action | None, user: str, invite: Invite, token: str
    ) -> str:
        target = {"target_kind": TargetKind.EXPERT, "consultant_hospital": self._outside, "nominee": user}
        if action is None:
            application = consult.application().model_copy(update=target)
            revision = consult.application_revision
            return (await self._consults.save_application(claims, consult.id, revision, application, token)).id
        if action is Action.ASK_PANEL:
            order = Order(version=consult.version, member=user, question=invite.question)
            return (await self._consults.act(claims, consult.id, action, order)).id
        order = Order(version=consult.version, reason=invite.question, target=Target.model_validate(target))
        return (await self._consults.act(claims, consult.id, action, order)).children[-1]
