"""The report while its author is writing it: saved as they type, seen by them and a second reader."""

from consult.errors import NotAllowed
from consult.model import Action, Consult, Order, ReportText, Role, State, WorkingDraft, roles_of
from consult.model.parties import REVIEWED
from consult.model.rules import check_key_images
from consult.ports import ConsultStore
from consult.usecases.consults import Consults
from consult.usecases.views import conflict, time_now
from imaging_common.auth import Claims


class Drafts:
    """Working drafts, one per case and author."""

    def __init__(self, store: ConsultStore, consults: Consults) -> None:
        self._store = store
        self._consults = consults

    async def get(self, claims: Claims, consult_id: str) -> WorkingDraft:
        """The draft this person writes (revision 0: where they start), or reads as the second reader."""
        consult = await self._consults.of(claims, consult_id, "view")
        roles = roles_of(consult, claims)
        own = await self._store.draft(consult_id, claims.user)
        if Role.EXPERT in roles:
            return own or await self._begun(consult, claims)
        if Role.SECOND_READER in roles and consult.state in REVIEWED and consult.expert:
            found = await self._store.draft(consult_id, consult.expert)
            if found is not None:
                return found
        if own is not None:
            return own
        await self._consults.deny(claims, "view", "not-the-author", consult_id)
        raise NotAllowed("a report that is not issued is its author's alone")

    async def save(self, claims: Claims, consult_id: str, revision: int, text: ReportText) -> WorkingDraft:
        """Keep what was written on that revision; the first save is the transition `draft`.

        Raises
        ------
        Conflict
            Another window saved meanwhile, or nobody writes a report in this state.
        """
        consult = await self._consults.of(claims, consult_id, "draft")
        if Role.EXPERT not in roles_of(consult, claims):
            await self._consults.deny(claims, "draft", "not-the-expert", consult_id)
            raise NotAllowed("only the expert who has the case writes its report")
        check_key_images(consult.studies, text.key_images)
        kept = await self._store.draft(consult_id, claims.user)
        if revision != (kept.revision if kept else 0) or consult.state not in (State.READING, State.DRAFTED):
            raise conflict(consult)
        draft = WorkingDraft(
            consult_id=consult_id,
            author=claims.user,
            author_name=claims.name,
            revision=revision + 1,
            saved_at=time_now(),
            text=text,
        )
        if consult.state is State.READING:
            await self._consults.act(claims, consult_id, Action.DRAFT, Order(version=consult.version), draft)
        elif not await self._store.save_draft(consult, draft, revision):
            raise conflict(await self._store.get(consult_id) or consult)
        return draft

    async def _begun(self, consult: Consult, claims: Claims) -> WorkingDraft:
        """Where an expert starts: with what the one before them left."""
        left = await self._store.latest_draft(consult.id)
        return WorkingDraft(
            consult_id=consult.id,
            author=claims.user,
            author_name=claims.name,
            text=left.text if left else ReportText(),
        )
