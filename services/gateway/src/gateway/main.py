"""The composition root: connects ports and adapters, starts and stops them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
from fastapi import FastAPI

from gateway.adapters.access_grants import MongoAccessGrants
from gateway.adapters.audit_records import HttpAuditRecords
from gateway.adapters.consult_desk import HttpConsultDesk
from gateway.adapters.consults import HttpConsults
from gateway.adapters.ingest import HttpInstanceStore, ServiceToken, ingest_client
from gateway.adapters.notices import MongoNotices
from gateway.adapters.oidc import OidcProvider
from gateway.adapters.orders import MongoCommands, MongoOrders
from gateway.adapters.patients import MongoPatientStatements
from gateway.adapters.reports import MongoStatements
from gateway.adapters.retrievals import MongoEdges, MongoRetrievals
from gateway.adapters.sessions import MongoSessions
from gateway.adapters.smart import SmartClient
from gateway.adapters.stores import MongoGrants, MongoHospitals
from gateway.adapters.systems import HttpSystems
from gateway.api.app import install
from gateway.api.portal import Portal
from gateway.dicomweb import build_dicomweb_router
from gateway.handlers import build_live_reader, build_retrieval_reader, build_router
from gateway.live import LiveHub
from gateway.model import EdgeSpoke, HolderTurned
from gateway.operations.compose import FOLLOWED_TOPICS, compose_operations
from gateway.retrievals.bounds import Bounds
from gateway.retrievals.edges import Edges
from gateway.retrievals.retriever import Retriever
from gateway.settings import GatewaySettings
from gateway.usecases.authenticate import Authenticator
from gateway.usecases.break_glass import BreakGlass
from gateway.usecases.follow_edges import both
from gateway.usecases.launch_smart import SmartApps
from gateway.usecases.open_window import Windows
from gateway.usecases.prefetch_studies import Prefetch
from gateway.usecases.read_reports import ReportDesk
from gateway.usecases.register_hospitals import register_hospitals
from gateway.usecases.review_patients import ReviewPatients
from gateway.usecases.share_studies import Shares
from gateway.usecases.sign_in import SignIn
from gateway.usecases.store_annotations import StoreAnnotations
from gateway.usecases.upload_instances import UploadInstances
from gateway.web.files import FileTree
from imaging_common import mongo
from imaging_common.audit import AuditTrail
from imaging_common.auth import TokenVerifier
from imaging_common.http import create_app
from imaging_common.index.patients import PatientIndex
from imaging_common.index.read import MongoIndexReader, StudyIndex
from imaging_common.index.reports import ReportIndex
from imaging_common.messaging import Messaging
from imaging_common.messaging.outbox import Outbox, OutboxRelay
from imaging_common.messaging.outbox_publisher import OutboxPublisher
from imaging_common.objects.store import MinioObjectStore

SERVICE = "gateway"
RETRIEVAL_TOPICS = ("study-changed", "edge-events-<hospital>")
LIVE_TOPICS = ("access-changed", "notice-raised", "notice-seen", "consult-changed", "report-changed", "study-changed")


def build_app(settings: GatewaySettings) -> FastAPI:
    """One copy of the gateway; nothing is connected before it starts."""
    client = mongo.connect(settings)
    database = client[SERVICE]
    outbox = Outbox(database)
    publisher = OutboxPublisher(outbox)
    messaging = Messaging(SERVICE, settings)
    relay = OutboxRelay(outbox, messaging.publisher)
    sessions = MongoSessions(database, settings.session_secret.get_secret_value())
    grants, notices = MongoGrants(database), MongoNotices(database, outbox)
    registry = MongoHospitals(database, outbox)
    orders, commands = MongoOrders(database, outbox), MongoCommands(database, outbox)
    verifier = TokenVerifier.of(settings)
    provider = OidcProvider(
        issuer=settings.oidc_issuer,
        client_id=settings.oidc_client_id,
        client_secret=settings.oidc_client_secret.get_secret_value(),
        public_url=settings.public_url,
        verifier=verifier,
        scopes=settings.oidc_scopes,
    )
    audit = AuditTrail(SERVICE, publisher)
    audit_client = httpx.AsyncClient(base_url=settings.audit_url, timeout=settings.audit_timeout_seconds)
    consult_client = httpx.AsyncClient(base_url=settings.consult_url, timeout=settings.consult_timeout_seconds)
    systems_client = httpx.AsyncClient(
        base_url=settings.notification_url, timeout=settings.notification_timeout_seconds
    )
    token_client = httpx.AsyncClient(timeout=settings.ingest_timeout_seconds)
    own_token = ServiceToken(
        token_client, settings.oidc_issuer, settings.oidc_client_id, settings.oidc_client_secret.get_secret_value()
    )
    ingest = ingest_client(
        settings.ingest_url, settings.ingest_timeout_seconds, settings.ingest_ca, settings.ingest_identity
    )
    instances = HttpInstanceStore(ingest, own_token)
    index = StudyIndex.on(client["index"])
    retrievals = MongoRetrievals(database)
    edges = Edges(MongoEdges(database), interval_seconds=settings.heartbeat_seconds)
    bounds = Bounds(
        frame=settings.frame_wait_seconds,
        silence=settings.retrieval_silence_seconds,
        linger=settings.viewer_linger_seconds,
    )
    live = LiveHub()

    async def tell_of_hospital(hospital: str) -> None:
        await live.publish(HolderTurned(hospital))
        await live.publish(EdgeSpoke(hospital))

    retriever = Retriever(retrievals, index, edges, messaging.publisher, bounds, turned=tell_of_hospital)
    prefetch = Prefetch(index, retriever, settings.prefetch_priors, settings.prefetch_record_studies)
    access_grants = MongoAccessGrants(database, outbox)
    authenticator = Authenticator(sessions, provider, grants, verifier, access_grants, index)
    windows = Windows(access_grants, sessions, index, audit, settings.ehrs)
    smart_client = SmartClient(settings.public_url)
    store = MinioObjectStore(settings)
    reports = ReportDesk(
        ReportIndex.on(client["index"]),
        index,
        store,
        MongoStatements(database, outbox),
        audit,
        retriever,
        ZoneInfo(settings.time_zone),
    )
    operated = compose_operations(settings, database, registry, audit, live)
    portal = Portal(
        settings=settings,
        authenticator=authenticator,
        sign_in=SignIn(sessions, provider, audit, lifetime_seconds=settings.session_hours * 3600),
        sessions=sessions,
        notices=notices,
        registry=registry,
        consults=HttpConsults(consult_client),
        desk=HttpConsultDesk(consult_client),
        systems=HttpSystems(systems_client),
        records=HttpAuditRecords(audit_client),
        orders=orders,
        commands=commands,
        reports=reports,
        residents=ReviewPatients(
            PatientIndex(MongoIndexReader(client["index"])), index, MongoPatientStatements(database, outbox), audit
        ),
        uploads=UploadInstances(index, instances, audit),
        index=index,
        publisher=publisher,
        audit=audit,
        live=live,
        retriever=retriever,
        prefetch=prefetch,
        windows=windows,
        shares=Shares(access_grants, sessions, index, windows, audit),
        glass=BreakGlass(access_grants, index, audit),
        access_grants=access_grants,
        smart=SmartApps(access_grants, windows, smart_client, audit, settings.ehrs),
        static=static_files(),
        viewer=FileTree(settings.ohif_dir) if settings.ohif_dir is not None else None,
        operations=operated.desk,
    )
    annotations = StoreAnnotations(index, instances, audit, max_bytes=settings.max_annotation_bytes)
    messaging.include(build_router(grants, notices, prefetch))
    messaging.tail(
        (*RETRIEVAL_TOPICS, *FOLLOWED_TOPICS), both(build_retrieval_reader(retriever, live), operated.follow)
    )
    messaging.tail(LIVE_TOPICS, build_live_reader(grants, notices, live, authenticator.forget_subjects))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        for store in (sessions, grants, notices, orders, commands, retrievals, access_grants):
            await store.prepare()
        await operated.prepare()
        await register_hospitals(registry, settings.region_hospitals())
        await messaging.start()
        await relay.start()
        await retriever.start()
        try:
            yield
        finally:
            await retriever.stop()
            await relay.stop()
            await messaging.stop()
            await operated.close()
            await consult_client.aclose()
            await smart_client.aclose()
            await audit_client.aclose()
            await systems_client.aclose()
            await ingest.aclose()
            await token_client.aclose()
            await client.close()

    async def check_mongo() -> None:
        await mongo.check(client)

    app = create_app(SERVICE, settings, lifespan=lifespan, checks={"mongodb": check_mongo, "kafka": messaging.check})
    marked = settings.watermark == "on"
    dicomweb = build_dicomweb_router(
        index, store, portal.subject_of, audit, retriever, publisher, annotations, mark_links=marked
    )
    install(app, portal, dicomweb)
    return app


def static_files() -> FileTree:
    """The portal's own style sheets and scripts."""
    return FileTree(Path(str(resources.files("gateway.web").joinpath("static"))))
