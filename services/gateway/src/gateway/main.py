"""The composition root: connects ports and adapters, starts and stops them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
from fastapi import FastAPI

from gateway.adapters.consults import HttpConsults
from gateway.adapters.oidc import OidcProvider
from gateway.adapters.orders import MongoCommands, MongoOrders
from gateway.adapters.patients import MongoPatientStatements
from gateway.adapters.reports import MongoStatements
from gateway.adapters.retrievals import MongoEdges, MongoRetrievals
from gateway.adapters.sessions import MongoSessions
from gateway.adapters.stores import MongoGrants, MongoHospitals, MongoNotices
from gateway.api.app import install
from gateway.api.portal import Portal
from gateway.dicomweb import build_dicomweb_router
from gateway.handlers import build_live_reader, build_retrieval_reader, build_router
from gateway.live import LiveHub
from gateway.model import HolderTurned
from gateway.retrievals.bounds import Bounds
from gateway.retrievals.edges import Edges
from gateway.retrievals.retriever import Retriever
from gateway.settings import GatewaySettings
from gateway.usecases.authenticate import Authenticator
from gateway.usecases.prefetch_studies import Prefetch
from gateway.usecases.read_reports import ReportDesk
from gateway.usecases.register_hospitals import register_hospitals
from gateway.usecases.review_patients import ReviewPatients
from gateway.usecases.sign_in import SignIn
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
LIVE_TOPICS = ("notice-raised", "consult-changed", "report-changed", "study-changed")


def build_app(settings: GatewaySettings) -> FastAPI:
    """One copy of the gateway; nothing is connected before it starts."""
    client = mongo.connect(settings)
    database = client[SERVICE]
    outbox = Outbox(database)
    publisher = OutboxPublisher(outbox)
    messaging = Messaging(SERVICE, settings)
    relay = OutboxRelay(outbox, messaging.publisher)
    sessions = MongoSessions(database, settings.session_secret.get_secret_value())
    grants, notices = MongoGrants(database), MongoNotices(database)
    registry = MongoHospitals(database, outbox)
    orders, commands = MongoOrders(database, outbox), MongoCommands(database, outbox)
    verifier = TokenVerifier(settings.oidc_issuer, settings.oidc_audience)
    provider = OidcProvider(
        issuer=settings.oidc_issuer,
        client_id=settings.oidc_client_id,
        client_secret=settings.oidc_client_secret.get_secret_value(),
        public_url=settings.public_url,
        verifier=verifier,
    )
    audit = AuditTrail(SERVICE, publisher)
    consult_client = httpx.AsyncClient(base_url=settings.consult_url, timeout=settings.consult_timeout_seconds)
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

    retriever = Retriever(retrievals, index, edges, messaging.publisher, bounds, turned=tell_of_hospital)
    prefetch = Prefetch(index, retriever, settings.prefetch_priors, settings.prefetch_record_studies)
    authenticator = Authenticator(sessions, provider, grants, verifier)
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
    portal = Portal(
        settings=settings,
        authenticator=authenticator,
        sign_in=SignIn(sessions, provider, audit, lifetime_seconds=settings.session_hours * 3600),
        sessions=sessions,
        notices=notices,
        registry=registry,
        consults=HttpConsults(consult_client),
        orders=orders,
        commands=commands,
        reports=reports,
        residents=ReviewPatients(
            PatientIndex(MongoIndexReader(client["index"])), index, MongoPatientStatements(database, outbox), audit
        ),
        index=index,
        publisher=publisher,
        audit=audit,
        live=live,
        retriever=retriever,
        prefetch=prefetch,
        static=static_files(),
        viewer=FileTree(settings.ohif_dir) if settings.ohif_dir is not None else None,
    )
    messaging.include(build_router(grants, notices, prefetch))
    messaging.tail(RETRIEVAL_TOPICS, build_retrieval_reader(retriever, live))
    messaging.tail(LIVE_TOPICS, build_live_reader(grants, notices, live, authenticator.forget_subjects))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        for store in (sessions, grants, notices, orders, commands, retrievals):
            await store.prepare()
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
            await consult_client.aclose()
            await client.close()

    async def check_mongo() -> None:
        await mongo.check(client)

    app = create_app(SERVICE, settings, lifespan=lifespan, checks={"mongodb": check_mongo, "kafka": messaging.check})
    install(app, portal, build_dicomweb_router(index, store, portal.subject_of, audit, retriever, publisher))
    return app


def static_files() -> FileTree:
    """The portal's own style sheets and scripts."""
    return FileTree(Path(str(resources.files("gateway.web").joinpath("static"))))
