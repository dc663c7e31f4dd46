"""What the gateway's use cases need of the world."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from gateway.cases import CaseGrant
from gateway.model import (
    EndedSession,
    HospitalEntry,
    KeptNotice,
    Order,
    ProviderLogout,
    Session,
    StudyCommands,
    Tokens,
)
from imaging_common.auth import Claims
from imaging_common.events import AuditRecorded, NoticeRaised


class SessionStore(Protocol):
    """Sessions, and sign-ins that have begun; shared by all copies of the gateway."""

    async def begin_sign_in(
        self,
        state: str,
        *,
        browser: str,
        verifier: str,
        nonce: str,
        next_path: str,
        signing: Mapping[str, str] | None = None,
    ) -> None:
        """Keep what a sign-in needs when the browser comes back, and what it is to sign then; ten minutes."""
        ...

    async def finish_sign_in(self, state: str, *, browser: str) -> Mapping[str, Any] | None:
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

    async def end_of_provider(self, logout: ProviderLogout) -> list[EndedSession]:
        """Forget the sessions that the provider has ended; which they were."""
        ...

    async def join(self, key: str, grant_id: str) -> None:
        """Let a portal session see what a share link names."""
        ...

    async def end_windows(self, grant_id: str) -> int:
        """End the windows of a grant; how many there were."""
        ...


class IdentityProvider(Protocol):
    """The OIDC provider (OpenID Connect Core 1.0, authorization code flow with PKCE, RFC 7636)."""

    async def sign_in_url(self, *, state: str, nonce: str, verifier: str, language: str, again: bool = False) -> str:
        """Where the browser signs in; `again`: the person proves anew who they are (`prompt=login`, `max_age=0`)."""
        ...

    async def exchange(self, code: str, *, verifier: str, nonce: str) -> tuple[Claims, Tokens, float]:
        """The code's tokens, verified; and when the access token expires (Unix time)."""
        ...

    async def refresh(self, tokens: Tokens) -> tuple[Claims, Tokens, float] | None:
        """New tokens; None when the provider has ended the session."""
        ...

    async def logout_of(self, token: str) -> ProviderLogout:
        """Whose sessions a logout token ends (OpenID Connect Back-Channel Logout 1.0); raises SignInFailed."""
        ...

    async def end_session_url(self) -> str:
        """Where a browser signs out (OpenID Connect RP-Initiated Logout 1.0)."""
        ...


class GrantStore(Protocol):
    """Which consults open which studies to whom."""

    async def put(self, grant: CaseGrant) -> bool:
        """Keep it, unless the same or a newer version is known: then False."""
        ...

    async def of_person(self, claims: Claims) -> list[CaseGrant]:
        """The open cases somebody takes part in (`cases.takes_part`), or a hospital's workstations.

        Their `studies` are all they open now, with what escalated cases have from the one below (`cases.resolved`).
        """
        ...


class NoticeStore(Protocol):
    """What people were told, and whether they saw it."""

    async def add(self, notice: NoticeRaised) -> datetime:
        """Keep it; since when it is kept. The same notice again changes nothing and has the same time."""
        ...

    async def unseen(self, recipients: Sequence[str], user: str) -> int:
        """How many this person has not seen."""
        ...

    async def latest(self, recipients: Sequence[str], user: str, limit: int) -> list[dict[str, Any]]:
        """The newest, each with `notice_id` and `seen`."""
        ...

    async def since(self, recipients: Sequence[str], at: datetime, limit: int) -> list[KeptNotice]:
        """What is kept since then, the oldest first; some that were kept shortly before come again."""
        ...

    async def mark_seen(
        self, recipients: Sequence[str], user: str, *, link: str | None = None, notice_id: str | None = None
    ) -> int:
        """This person has seen them: all, those that lead to `link`, or one; how many were new. Each is announced."""
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
    """The consult service's cases, asked with the user's own token.

    Errors: `ConsultUnavailable`, and below `ConsultRefused` (`ConsultNotFound`, `ConsultConflict`).
    """

    async def list(self, token: str, box: str, state: str = "") -> list[dict[str, Any]]:
        """Cases in a box."""
        ...

    async def get(self, token: str, consult_id: str) -> dict[str, Any]:
        """One case, with `allowed`, `roles`, `server_time`."""
        ...

    async def act(self, token: str, consult_id: str, action: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """One row of the workflow's table; the case afterwards. `body` names the `version` it was made on."""
        ...

    async def reports(
        self, token: str, *, studies: Sequence[Mapping[str, str]] = (), consult_id: str = ""
    ) -> Sequence[dict[str, Any]]:
        """Cases with an issued report on any of these studies (`study_uid`, `holder`), or the case with this id, as far
        as the token's owner may read it: parties of the case, and an EHR's own account."""
        ...

    async def read(self, token: str, path: str, params: Mapping[str, str] | None = None) -> Any:
        """What lies at `/consults/<path>`: `<id>/comments`, `<id>/report/draft`, `<id>/reports`, `templates`, …"""
        ...

    async def keep(self, token: str, path: str, body: Mapping[str, Any]) -> Any:
        """Replace what lies there; Conflict: another revision."""
        ...

    async def send(self, token: str, path: str, body: Mapping[str, Any]) -> Any:
        """Add something there: a comment, an invitation, another try of a delivery."""
        ...

    async def file(self, token: str, path: str) -> "ConsultFile":
        """An attachment or a PDF, as it comes."""
        ...

    async def verify(self, code: str) -> dict[str, Any] | None:
        """What a verification code stands for; None: it is unknown. Asked without a token."""
        ...


@dataclass(frozen=True, slots=True)
class ConsultFile:
    """Bytes of a case on their way to a browser."""

    media_type: str
    chunks: AsyncIterator[bytes]


class AuditRecords(Protocol):
    """The audit service, asked with the auditor's own token."""

    async def search(self, token: str, params: Mapping[str, str | Sequence[str]]) -> tuple[list[dict[str, Any]], str]:
        """One page of links, the newest first, and the place after which the next begins."""
        ...

    async def summary(self, token: str, params: Mapping[str, str | Sequence[str]]) -> tuple[list[dict[str, Any]], bool]:
        """Who looked, of the records that match, one row per person, by hospital; and if there are more people."""
        ...

    async def export(self, token: str, params: Mapping[str, str | Sequence[str]], form: str) -> AsyncIterator[bytes]:
        """All records that match, in the words of FHIR or DICOM, streamed."""
        ...


class Systems(Protocol):
    """The notification service: which systems get which events."""

    async def ask(
        self,
        token: str,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> Any:
        """Its answer, with the caller's own token.

        Raises
        ------
        SystemsUnavailable, SystemsRefused
        """
        ...


class OrderBook(Protocol):
    """The orders for the hospitals' worklists; placing and cancelling tells the hospital's edge agent.

    `record` is the audit record of the act: it is written in the same transaction.
    """

    async def place(self, order: Order, record: AuditRecorded) -> None:
        """Keep it and send it, in one transaction; the same order again changes nothing."""
        ...

    async def cancel(self, hospital: str, order_id: str, record: AuditRecorded) -> Order | None:
        """Take an open order of that hospital back; None when there is none. `record` is given the order's study."""
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
    """What operators ordered about studies of the central tier.

    `record` is the audit record of the act: it is written in the same transaction.
    """

    async def of(self, holder: str, study_uid: str) -> StudyCommands:
        """What holds now; nothing was ordered: revision 0."""
        ...

    async def delete(
        self, commands: StudyCommands, *, reason: str, user: str, purge_after: datetime, record: AuditRecorded
    ) -> bool:
        """Order the deletion, if nothing was ordered meanwhile."""
        ...

    async def restore(self, commands: StudyCommands, *, user: str, record: AuditRecorded) -> bool:
        """Undo the deletion, if nothing was ordered meanwhile."""
        ...

    async def hold(self, commands: StudyCommands, *, held: bool, user: str, record: AuditRecorded) -> bool:
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


class InstanceStore(Protocol):
    """The region's ingest, as the portal uses it: instances are stored for the holder that the portal names."""

    async def store(
        self, holder: str, study_uid: str, files: Sequence[bytes], *, user: str, hospital: str = ""
    ) -> dict[str, Any]:
        """Store Part 10 files of one study on behalf of a user; the Store Instances Response (PS3.18 Annex I).

        Raises
        ------
        IngestUnavailable
            Nothing is known to be stored.
        IngestRefused
            Nothing is stored.
        """
        ...


class FakeInstanceStore:
    """`InstanceStore` that remembers, and stores everything."""

    def __init__(self) -> None:
        self.stored: list[tuple[str, str, bytes, str]] = []
        self.error: Exception | None = None

    async def store(
        self, holder: str, study_uid: str, files: Sequence[bytes], *, user: str, hospital: str = ""
    ) -> dict[str, Any]:
        """See `InstanceStore.store`."""
        if self.error is not None:
            raise self.error
        self.stored += [(holder, study_uid, file, user) for file in files]
        return {"00081199": {"vr": "SQ", "Value": [{} for _ in files]}}


class InstanceDoor(Protocol):
    """The region's ingest, for what people upload: a request's body goes through as it comes."""

    async def forward(
        self, holder: str, content_type: str, length: int, body: AsyncIterator[bytes], *, user: str, hospital: str
    ) -> dict[str, Any]:
        """Store the instances of a multipart body (PS3.18 §10.5) for a holder on behalf of a user of a hospital; the
        Store Instances Response (Annex I).

        Raises
        ------
        IngestUnavailable
            Nothing is known to be stored: the same body may be sent again.
        IngestRefused
            Nothing is stored.
        """
        ...


class FakeInstanceDoor:
    """`InstanceDoor` that answers what it was told to, and remembers what came."""

    def __init__(self) -> None:
        self.came: list[tuple[str, str, bytes, str]] = []
        self.answer: dict[str, Any] = {}
        self.error: Exception | None = None

    async def forward(
        self, holder: str, content_type: str, length: int, body: AsyncIterator[bytes], *, user: str, hospital: str
    ) -> dict[str, Any]:
        """See `InstanceDoor.forward`."""
        if self.error is not None:
            raise self.error
        data = b"".join([chunk async for chunk in body])
        self.came.append((holder, content_type, data, user))
        return self.answer
