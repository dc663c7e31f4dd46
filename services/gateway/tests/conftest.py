"""The portal over fakes: everything but MongoDB, Kafka, the provider and the consult service is real."""

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest

from gateway.adapters.fake_consults import FakeConsults
from gateway.adapters.fake_orders import FakeCommands, FakeOrders
from gateway.adapters.fake_statements import FakeStatements
from gateway.adapters.fake_systems import FakeSystems
from gateway.adapters.patients import FakePatientStatements
from gateway.adapters.smart import SmartClient
from gateway.api.app import install
from gateway.api.portal import Portal
from gateway.cases import CaseGrant, resolved, takes_part
from gateway.consult_desk.ports import FakeConsultDesk
from gateway.dicomweb import build_dicomweb_router
from gateway.errors import AuditUnavailable, SignInFailed
from gateway.grants.model import Ehr
from gateway.grants.ports import FakeAccessGrants
from gateway.live import LiveHub
from gateway.main import static_files
from gateway.model import EndedSession, HospitalEntry, KeptNotice, ProviderLogout, Session, Tokens
from gateway.operations.fakes import FakeOperated
from gateway.ports import FakeInstanceDoor
from gateway.retrievals.edges import Edges
from gateway.retrievals.ports import FakeEdgeStore, FakeRetrievals
from gateway.retrievals.retriever import Retriever
from gateway.settings import GatewaySettings
from gateway.usecases.authenticate import Authenticator, digest
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
from imaging_common.audit import AuditTrail
from imaging_common.auth import Claims, InvalidToken, TokenVerifier
from imaging_common.events import AuditRecorded, NoticeRaised
from imaging_common.http import create_app
from imaging_common.index.fake import FakeIndexReader
from imaging_common.index.names import parse_person_name
from imaging_common.index.patients import PatientIndex
from imaging_common.index.reports import ReportIndex
from imaging_common.messaging import FakePublisher
from imaging_common.objects.store import FakeObjectStore

DOCTOR = Claims("doctor.community", "community", frozenset({"doctor"}), "陈建国")
EXPERT = Claims("expert.secondary", "secondary", frozenset({"doctor", "expert"}), "周敏")
AUDITOR = Claims("auditor.region", "", frozenset({"auditor"}), "何静")
OPERATOR = Claims("operator.region", "", frozenset({"region-operator"}), "孙强")
EHR = Claims("ehr-residents", "", frozenset({"ehr"}))
EDGE = Claims("edge-secondary", "secondary", frozenset({"edge-agent"}))
HOSPITALS = [
    HospitalEntry(hospital="community", name_zh="塘桥", name_en="Tangqiao", level="community", tier="central"),
    HospitalEntry(hospital="secondary", name_zh="一院", name_en="First", level="secondary", tier="central"),
]  # fmt: skip


class FakeSessions:
    """`SessionStore` in memory."""

    def __init__(self) -> None:
        self.sessions: dict[str, Session] = {}
        self.sign_ins: dict[str, dict[str, Any]] = {}

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
        begun = {"browser": browser, "verifier": verifier, "nonce": nonce, "next_path": next_path}
        self.sign_ins[state] = begun | ({"signing": dict(signing)} if signing else {})

    async def finish_sign_in(self, state: str, *, browser: str) -> Mapping[str, Any] | None:
        begun = self.sign_ins.get(state)
        return self.sign_ins.pop(state) if begun and begun["browser"] == browser else None

    async def create(self, cookie: str, session: Session, lifetime_seconds: float) -> None:
        self.sessions[digest(cookie)] = session

    async def find(self, key: str) -> Session | None:
        return self.sessions.get(key)

    async def renew(self, key: str, claims: Claims, tokens: Tokens, access_expires_at: float) -> None:
        session = self.sessions[key]
        session.claims, session.tokens, session.access_expires_at = claims, tokens, access_expires_at

    async def remember_search(self, key: str, search: Mapping[str, str]) -> None:
        self.sessions[key].search = dict(search)

    async def end(self, key: str) -> None:
        self.sessions.pop(key, None)

    async def end_of_provider(self, logout: ProviderLogout) -> list[EndedSession]:
        ended = [s for s in self.sessions.values() if (s.sid == logout.sid if logout.sid else s.sub == logout.sub)]
        for session in ended:
            del self.sessions[session.key]
        return [EndedSession(session.claims.user, session.claims.hospital) for session in ended]

    async def join(self, key: str, grant_id: str) -> None:
        self.sessions[key].joined += (grant_id,)

    async def end_windows(self, grant_id: str) -> int:
        ended = [key for key, session in self.sessions.items() if session.grant_id == grant_id]
        for key in ended:
            del self.sessions[key]
        return len(ended)


class FakeProvider:
    """`IdentityProvider` whose codes are user names."""

    def __init__(self) -> None:
        self.people = {claims.user: claims for claims in (DOCTOR, EXPERT, AUDITOR, OPERATOR)}
        self.refreshes = 0
        self.exchanges = 0
        self.ended = False

    async def sign_in_url(self, *, state: str, nonce: str, verifier: str, language: str, again: bool = False) -> str:
        return f"https://id.example/auth?state={state}" + ("&prompt=login&max_age=0" if again else "")

    async def exchange(self, code: str, *, verifier: str, nonce: str) -> tuple[Claims, Tokens, float]:
        if code not in self.people:
            raise SignInFailed("the provider refused the code")
        self.exchanges += 1
        return self.people[code], Tokens(f"access-{code}-{self.exchanges}", "refresh", "id-token"), time.time() + 300

    async def refresh(self, tokens: Tokens) -> tuple[Claims, Tokens, float] | None:
        self.refreshes += 1
        user = tokens.access.removeprefix("access-").rpartition("-")[0]
        return None if self.ended else (self.people[user], tokens, time.time() + 300)

    async def logout_of(self, token: str) -> ProviderLogout:
        if not token.startswith("logout:"):
            raise SignInFailed("the logout token does not hold")
        return ProviderLogout("", token.removeprefix("logout:"))

    async def end_session_url(self) -> str:
        return "https://id.example/logout"


class FakeGrants:
    """`GrantStore` in memory."""

    def __init__(self) -> None:
        self.cases: dict[str, CaseGrant] = {}

    async def put(self, grant: CaseGrant) -> bool:
        known = self.cases.get(grant.consult_id)
        if known is not None and not grant.version.newer_than(known.version):
            return False
        self.cases[grant.consult_id] = grant
        return True

    async def of_person(self, claims: Claims) -> list[CaseGrant]:
        if "edge-agent" in claims.roles:
            cases = [c for c in self.cases.values() if c.open and c.workstation]
            cases = [c for c in cases if claims.hospital in (c.applicant_hospital, c.consultant_hospital)]
        else:
            cases = [c for c in self.cases.values() if c.open and takes_part(c, claims)]
        return resolved(cases, self.cases)


class FakeNotices:
    """`NoticeStore` in memory."""

    def __init__(self) -> None:
        self.notices: dict[str, NoticeRaised] = {}
        self.kept_at: dict[str, datetime] = {}
        self.seen: set[tuple[str, str]] = set()

    async def add(self, notice: NoticeRaised) -> datetime:
        self.notices.setdefault(notice.notice_id, notice)
        return self.kept_at.setdefault(notice.notice_id, datetime.now(UTC))

    async def unseen(self, recipients: Sequence[str], user: str) -> int:
        return sum(not notice["seen"] for notice in await self.latest(recipients, user, 100))

    async def latest(self, recipients: Sequence[str], user: str, limit: int) -> list[dict[str, Any]]:
        mine = [n for n in self.notices.values() if n.recipient in recipients]
        return [{**n.model_dump(), "seen": (n.notice_id, user) in self.seen} for n in mine][:limit]

    async def since(self, recipients: Sequence[str], at: datetime, limit: int) -> list[KeptNotice]:
        kept = [KeptNotice(n, self.kept_at[n.notice_id]) for n in self.notices.values() if n.recipient in recipients]
        return [one for one in kept if one.kept_at >= at][:limit]

    async def mark_seen(
        self, recipients: Sequence[str], user: str, *, link: str | None = None, notice_id: str | None = None
    ) -> int:
        before = len(self.seen)
        for notice in self.notices.values():
            if notice.recipient in recipients and link in (None, notice.link) and notice_id in (None, notice.notice_id):
                self.seen.add((notice.notice_id, user))
        return len(self.seen) - before


class FakeRegistry:
    """`HospitalRegistry` in memory."""

    def __init__(self) -> None:
        self.entries = {entry.hospital: entry for entry in HOSPITALS}

    async def register(self, entry: HospitalEntry) -> None:
        self.entries[entry.hospital] = entry

    async def all(self) -> list[HospitalEntry]:
        return list(self.entries.values())


class FakeAuditRecords:
    """`AuditRecords` that keeps what it was asked and pages by two."""

    def __init__(self) -> None:
        self.links: list[dict[str, Any]] = []
        self.asked: list[dict[str, Any]] = []
        self.people: list[dict[str, Any]] = []
        self.away = False

    async def search(self, token: str, params: Any) -> tuple[list[dict[str, Any]], str]:
        self._check(params)
        begin = int(params.get("after", 0))
        return self.links[begin : begin + 2], str(begin + 2) if len(self.links) > begin + 2 else ""

    async def summary(self, token: str, params: Any) -> tuple[list[dict[str, Any]], bool]:
        self._check(params)
        return self.people, False

    async def export(self, token: str, params: Any, form: str) -> AsyncIterator[bytes]:
        self._check(params)

        async def body() -> AsyncIterator[bytes]:
            for link in self.links:
                yield f"{form} {link['record']['audit_id']}\n".encode()

        return body()

    def _check(self, params: Any) -> None:
        if self.away:
            raise AuditUnavailable("away")
        self.asked.append(dict(params))


class FakeVerifier(TokenVerifier):
    """Takes `bearer-<user>`."""

    def __init__(self) -> None:
        super().__init__("https://id.example", "imaging-cloud")

    async def verify(self, token: str) -> Claims:
        for claims in (DOCTOR, EXPERT, EDGE, EHR):
            if token == f"bearer-{claims.user}":
                return claims
        raise InvalidToken("no")


@dataclass
class World:
    """A portal and what stands behind it."""

    ohif: Path
    sessions: FakeSessions = field(default_factory=FakeSessions)
    provider: FakeProvider = field(default_factory=FakeProvider)
    grants: FakeGrants = field(default_factory=FakeGrants)
    notices: FakeNotices = field(default_factory=FakeNotices)
    registry: FakeRegistry = field(default_factory=FakeRegistry)
    consults: FakeConsults = field(default_factory=FakeConsults)
    desk: FakeConsultDesk = field(default_factory=FakeConsultDesk)
    systems: FakeSystems = field(default_factory=FakeSystems)
    records: FakeAuditRecords = field(default_factory=FakeAuditRecords)
    orders: FakeOrders = field(default_factory=FakeOrders)
    commands: FakeCommands = field(default_factory=FakeCommands)
    statements: FakeStatements = field(default_factory=FakeStatements)
    patients: FakePatientStatements = field(default_factory=FakePatientStatements)
    store: FakeObjectStore = field(default_factory=FakeObjectStore)
    door: FakeInstanceDoor = field(default_factory=FakeInstanceDoor)
    reader: FakeIndexReader = field(default_factory=FakeIndexReader)
    publisher: FakePublisher = field(default_factory=FakePublisher)
    live: LiveHub = field(default_factory=LiveHub)
    retrievals: FakeRetrievals = field(default_factory=FakeRetrievals)
    operated: FakeOperated = field(default_factory=FakeOperated)
    access_grants: FakeAccessGrants = field(default_factory=FakeAccessGrants)
    public_url: str = "http://portal.test"
    ehrs: list[Ehr] = field(default_factory=list)
    smart: httpx.AsyncBaseTransport | None = None
    """Stands for the EHR's SMART server."""

    def __post_init__(self) -> None:
        self.app = self.build()

    def build(self) -> Any:
        """One copy of the gateway over this world's stores."""
        settings = GatewaySettings(public_url=self.public_url, ohif_dir=self.ohif, ehrs=self.ehrs)
        audit = AuditTrail("gateway", self.publisher)
        index = self.reader.index()
        windows = Windows(self.access_grants, self.sessions, index, audit, self.ehrs)
        edges = Edges(FakeEdgeStore(), interval_seconds=10)
        retriever = Retriever(self.retrievals, index, edges, self.publisher)
        portal = Portal(
            settings=settings,
            authenticator=Authenticator(
                self.sessions, self.provider, self.grants, FakeVerifier(), self.access_grants, index
            ),
            sign_in=SignIn(self.sessions, self.provider, audit, lifetime_seconds=3600),
            sessions=self.sessions,
            notices=self.notices,
            registry=self.registry,
            consults=self.consults,
            desk=self.desk,
            systems=self.systems,
            records=self.records,
            orders=self.orders,
            commands=self.commands,
            reports=ReportDesk(
                ReportIndex(self.reader),
                index,
                self.store,
                self.statements,
                audit,
                retriever,
                ZoneInfo("Asia/Shanghai"),
            ),
            residents=ReviewPatients(PatientIndex(self.reader), index, self.patients, audit),
            uploads=UploadInstances(index, self.door, audit),
            index=index,
            publisher=self.publisher,
            audit=audit,
            live=self.live,
            retriever=retriever,
            prefetch=Prefetch(index, retriever, 3, 5),
            windows=windows,
            shares=Shares(self.access_grants, self.sessions, index, windows, audit),
            glass=BreakGlass(self.access_grants, index, audit),
            access_grants=self.access_grants,
            smart=SmartApps(self.access_grants, windows, SmartClient(self.public_url, self.smart), audit, self.ehrs),
            static=static_files(),
            viewer=FileTree(self.ohif),
            operations=self.operated.desk(self.registry, audit, self.live),
        )
        app = create_app("gateway", settings, lifespan=None, checks={})  # type: ignore[arg-type]
        dicomweb = build_dicomweb_router(index, self.store, portal.subject_of, audit, retriever, self.publisher)
        install(app, portal, dicomweb)
        self.portal = portal
        return app

    def browser(self, app: Any = None, **headers: str) -> httpx.AsyncClient:
        """A browser that is not signed in."""
        transport = httpx.ASGITransport(app or self.app)
        fixed = {"Accept": "text/html", "Accept-Language": "en", **headers}
        return httpx.AsyncClient(transport=transport, base_url=self.public_url, headers=fixed)

    async def signed_in(self, user: str = DOCTOR.user, **headers: str) -> httpx.AsyncClient:
        """A browser that went through the provider."""
        browser = self.browser(**headers)
        begun = await browser.get("/auth/login")
        state = httpx.URL(begun.headers["location"]).params["state"]
        answer = await browser.get("/auth/callback", params={"state": state, "code": user})
        assert answer.status_code == 303
        return browser

    def csrf(self, user: str = DOCTOR.user) -> str:
        """The form token of somebody's session."""
        return next(s.csrf for s in self.sessions.sessions.values() if s.claims.user == user)

    def add_study(self, uid: str = "1.2.3", holder: str = "community", **more: Any) -> None:
        """Put a study into the index."""
        name = parse_person_name(more.pop("name", "Zhang^Wei=张^伟="))
        document = {
            "_id": f"{holder}/{uid}", "study_uid": uid, "holder": holder, "tier": "central",
            "version": {"epoch": 0, "n": 1}, "study_date": "20261120", "study_time": "093000", "accession": "A-77",
            "description": "胸部平扫", "modalities": ["CT"], "body_parts": ["CHEST"], "series_count": 1,
            "instance_count": 120, "updated_at": datetime.now(UTC), "settled": True, "stored": False, "rejected": [],
            "patient": {
                "id": "P-001", "issuer": "", "name": name.model_dump(), "birth_date": "19700601", "sex": "M",
            },
            **more,
        }  # fmt: skip
        self.reader.put("studies", document)

    @property
    def audited(self) -> list[AuditRecorded]:
        """The audit record so far; what was written with an order or a command comes last."""
        told = [event for _, event, _ in self.publisher.published if isinstance(event, AuditRecorded)]
        return [*told, *self.orders.audited, *self.commands.audited]


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A region's portal over fakes."""
    (tmp_path / "index.html").write_text("<!doctype html><head><title>OHIF Viewer</title></head>")
    (tmp_path / "app.bundle.0f6159c501addfe9.js").write_text("console.log('app')" * 50)
    (tmp_path / "8097.bundle.8ae6404ba94890a0.js").write_text("decodeImageFrameWorker; eval('1')")
    (tmp_path / "app-config.js").write_text("window.config = 'a public server'")
    return World(tmp_path)
