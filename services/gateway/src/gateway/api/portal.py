"""What the portal's pages share: one object per process, made by the composition root."""

from dataclasses import dataclass, replace

from fastapi import Request
from starlette.exceptions import HTTPException

from gateway.consult_desk.ports import ConsultDesk
from gateway.grants.ports import AccessGrants
from gateway.live import LiveHub
from gateway.model import Identity, Session
from gateway.operations.desk import Operations
from gateway.ports import (
    AuditRecords,
    CommandBook,
    ConsultService,
    HospitalRegistry,
    NoticeStore,
    OrderBook,
    SessionStore,
    Systems,
)
from gateway.retrievals.retriever import Retriever
from gateway.settings import GatewaySettings
from gateway.usecases.authenticate import Authenticator
from gateway.usecases.break_glass import BreakGlass
from gateway.usecases.launch_smart import SmartApps
from gateway.usecases.open_window import Windows
from gateway.usecases.prefetch_studies import Prefetch
from gateway.usecases.read_reports import ReportDesk
from gateway.usecases.review_patients import ReviewPatients
from gateway.usecases.share_studies import Shares
from gateway.usecases.sign_in import SignIn
from gateway.usecases.upload_instances import UploadInstances
from gateway.web.files import FileTree
from imaging_common.access import EDGE_ROLE, Subject
from imaging_common.access.rule import GRANT_ONLY_ROLES, IMAGE_ROLES
from imaging_common.audit import AuditTrail
from imaging_common.http.peers import AE_HEADER
from imaging_common.index.read import StudyIndex
from imaging_common.messaging import EventPublisher


@dataclass(frozen=True)
class Portal:
    """Ports and use cases behind the pages."""

    settings: GatewaySettings
    authenticator: Authenticator
    sign_in: SignIn
    sessions: SessionStore
    notices: NoticeStore
    registry: HospitalRegistry
    consults: ConsultService
    desk: ConsultDesk
    systems: Systems
    records: AuditRecords
    orders: OrderBook
    commands: CommandBook
    reports: ReportDesk
    residents: ReviewPatients
    uploads: UploadInstances
    index: StudyIndex
    publisher: EventPublisher
    audit: AuditTrail
    live: LiveHub
    retriever: Retriever
    windows: Windows
    shares: Shares
    glass: BreakGlass
    access_grants: AccessGrants
    smart: SmartApps
    prefetch: Prefetch
    static: FileTree
    viewer: FileTree | None
    operations: Operations

    @property
    def cookie(self) -> str:
        """The session cookie's name: `__Host-` where browsers insist on https, else told apart by port."""
        return "__Host-portal" if self.settings.secure else f"portal-{self._port}"

    @property
    def sign_in_cookie(self) -> str:
        """The cookie that ties the provider's answer to the browser that began."""
        return "__Host-sign-in" if self.settings.secure else f"sign-in-{self._port}"

    @property
    def window_cookie(self) -> str:
        """The cookie of an EHR's window or a share link; one browser has one such window at a time."""
        return "__Host-launch" if self.settings.secure else f"launch-{self._port}"

    @property
    def smart_cookie(self) -> str:
        """The cookie that ties an EHR's SMART answer to the frame that began."""
        return "__Host-smart" if self.settings.secure else f"smart-{self._port}"

    @property
    def _port(self) -> str:
        return self.settings.public_url.rpartition(":")[2].strip("/") or "80"

    async def subject_of(self, request: Request) -> Subject:
        """The access rule's subject; 401 when nobody is signed in."""
        identity = identity_of(request)
        subject = await self.authenticator.subject(identity.claims, identity.session)
        ae_title = request.headers.get(AE_HEADER, "").strip()  # the guard checked it against the certificate
        return replace(subject, source=ae_title) if EDGE_ROLE in subject.roles and ae_title else subject


def identity_of(request: Request) -> Identity:
    """Whom the guard let in; 401 when nobody is signed in."""
    identity: Identity | None = getattr(request.state, "identity", None)
    if identity is None:
        raise HTTPException(401)
    return identity


def session_of(request: Request) -> Session:
    """The session behind a portal page; a bearer token opens no page."""
    session = identity_of(request).session
    if session is None:
        raise HTTPException(401)
    return session


def works_with_images(identity: Identity) -> bool:
    """Whether any of the person's roles opens images; a window does, to what its grant names."""
    return bool(identity.claims.roles & (IMAGE_ROLES | GRANT_ONLY_ROLES))
