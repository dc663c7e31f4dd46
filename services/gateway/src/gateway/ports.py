"""What the gateway's use cases need of the world."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from gateway.model import CaseGrant, HospitalEntry, Order, Session, StudyCommands, Tokens
from imaging_common.auth import Claims
from imaging_common.events import NoticeRaised


class SessionStore(Protocol):
    """Sessions, and sign-ins that have begun; shared by all copies of the gateway."""

    async def begin_sign_in(self, state: str, *, browser: str, verifier: str, nonce: str, next_path: str) -> None:
        """Keep what a sign-in needs when the browser comes back; ten minutes."""
        ...

    async def finish_sign_in(self, state: str, *, browser: str) -> Mapping[str, str] | None:
        """Take it out, once; None when this browser began no such sign-in."""
        ...

    async def create(self, cookie: str, session: Session, lifetime_seconds: float) -> None:
        """Keep a session under the digest of its cookie."""
        ...

    async def find(self, key: str) -> Session | None:
        """The session, unless it has ended."""
        ...

    async def renew(self, key: str, claims: Claims, tokens: Tokens, access_expires_at: float) -> None:
        """Replace the tokens and what they say."""
        ...

    async def remember_search(self, key: str, search: Mapping[str, str]) -> None:
        """Keep the study list's search."""
        ...

    async def end(self, key: str) -> None:
        """Forget the session."""
        ...


class IdentityProvider(Protocol):
    """The OIDC provider (OpenID Connect Core 1.0, authorization code flow with PKCE, RFC 7636)."""

    async def sign_in_url(self, *, state: str, nonce: str, verifier: str, language: str) -> str:
        """Where the browser signs in."""
        ...

    async def exchange(self, code: str, *, verifier: str, nonce: str) -> tuple[Claims, Tokens, float]:
        """The code's tokens, verified; and when the access token expires (Unix time)."""
        ...

    async def refresh(self, tokens: Tokens) -> tuple[Claims, Tokens, float] | None:
        """New tokens; None when the provider has ended the session."""
        ...

    async def end_session_url(self) -> str:
        """Where a browser signs out (OpenID Connect RP-Initiated Logout 1.0)."""
        ...


class GrantStore(Protocol):
    """Which consults open which studies to whom."""

    async def put(self, grant: CaseGrant) -> bool:
        """Keep it, unless the same or a newer version is known: then False."""
        ...

    async def of_applicant(self, user: str, hospital: str) -> list[CaseGrant]:
        """The open cases somebody applied for."""
        ...

    async def of_person(self, claims: Claims) -> list[CaseGrant]:
        """The open cases somebody takes part in: as applicant, or as an expert of the hospital that was asked."""
        ...


class NoticeStore(Protocol):
    """What people were told, and whether they saw it."""

    async def add(self, notice: NoticeRaised) -> None:
        """Keep it; the same notice again changes nothing."""
        ...

    async def unseen(self, recipients: Sequence[str], user: str) -> int:
        """How many this person has not seen."""
        ...

    async def latest(self, recipients: Sequence[str], user: str, limit: int) -> list[dict[str, Any]]:
        """The newest, each with `seen`."""
        ...

    async def mark_seen(self, recipients: Sequence[str], user: str, link: str | None = None) -> None:
        """This person has seen them: all, or those that lead to `link`."""
        ...


class HospitalRegistry(Protocol):
    """The hospitals of the region, as stored."""

    async def register(self, entry: HospitalEntry) -> None:
        """Keep the entry and announce it, in one transaction."""
        ...

    async def all(self) -> list[HospitalEntry]:
        """Every hospital, by id."""
        ...


class ConsultService(Protocol):
    """The consult service, asked with the user's own token."""

    async def list(self, token: str, box: str, state: str = "") -> list[dict[str, Any]]:
        """Cases in a box: `sent` or `received`."""
        ...

    async def get(self, token: str, consult_id: str) -> dict[str, Any]:
        """One case."""
        ...

    async def submit(self, token: str, application: Mapping[str, Any], once: str) -> dict[str, Any]:
        """Apply; the new case. The same `once` makes one case only."""
        ...

    async def act(self, token: str, consult_id: str, action: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """accept, reject, withdraw or acknowledge; the case afterwards."""
        ...

    async def save_draft(self, token: str, consult_id: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Keep a draft of the report; the case afterwards."""
        ...

    async def issue(self, token: str, consult_id: str, version: int) -> dict[str, Any]:
        """Issue the report; the case afterwards."""
        ...


class OrderBook(Protocol):
    """The orders for the hospitals' worklists; placing and cancelling tells the hospital's edge agent."""

    async def place(self, order: Order) -> None:
        """Keep it and send it, in one transaction; the same order again changes nothing."""
        ...

    async def cancel(self, hospital: str, order_id: str) -> Order | None:
        """Take an open order of that hospital back; None when there is none."""
        ...

    async def open_orders(self, hospital: str, limit: int) -> list[Order]:
        """A hospital's orders that were not taken back, the next one first; those of past days are left out."""
        ...


class ReportStatements(Protocol):
    """What operators say of the hospitals' reports; saying it tells the index."""

    async def state(self, hospital: str, report_key: str, study_uid: str | None, user: str, after: int) -> bool:
        """Say to which study a report belongs, in one transaction; False: a statement later than `after` is known."""
        ...


class CommandBook(Protocol):
    """What operators ordered about studies of the central tier."""

    async def of(self, holder: str, study_uid: str) -> StudyCommands:
        """What holds now; nothing was ordered: revision 0."""
        ...

    async def delete(self, commands: StudyCommands, *, reason: str, user: str, purge_after: datetime) -> bool:
        """Order the deletion, if nothing was ordered meanwhile."""
        ...

    async def restore(self, commands: StudyCommands, *, user: str) -> bool:
        """Undo the deletion, if nothing was ordered meanwhile."""
        ...

    async def hold(self, commands: StudyCommands, *, held: bool, user: str) -> bool:
        """Set or lift the legal hold, if nothing was ordered meanwhile."""
        ...

    async def deleted(self, holder: str | None, limit: int) -> list[StudyCommands]:
        """Deleted studies that can still be restored, the next to be purged first; of all holders with None."""
        ...


class PatientStatements(Protocol):
    """What operators say of who a patient is."""

    async def say(self, hospital: str, patient_id: str, resident_id: str | None) -> int:
        """State it (None: the link is taken back) with the next revision, which is returned."""
        ...
