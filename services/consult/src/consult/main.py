"""The consult service put together."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import httpx
from fastapi import FastAPI

from consult.adapters.files import GridFiles
from consult.adapters.gateway_studies import GatewayStudies
from consult.adapters.kept_settings import MongoKeptSettings
from consult.adapters.mongo_consults import MongoConsultStore
from consult.adapters.mongo_hospitals import MongoHospitalBook
from consult.api import build_api
from consult.api.discussion import build_discussion_api
from consult.api.files import build_attachments_api
from consult.experts import Experts, Hours, build_experts_api
from consult.handlers import build_router
from consult.invitations import Invitations, build_invitations_api
from consult.invitations.joiner import InvitationJoiner
from consult.invitations.mailing import InvitationMail, Links
from consult.invitations.store import MongoInvitationBook
from consult.limits import LimitsJoiner, MongoTimers, Scheduler
from consult.policies import HospitalPolicies, build_policies_api
from consult.reports.api import build_reports_api
from consult.reports.assembly import build_report_work
from consult.reports.joiner import OutputsJoiner
from consult.reports.letterheads import MongoHospitalNames, PolicyLetterheads
from consult.reports.usecases import Reports
from consult.routing import Routing, RoutingJoiner, build_routing_api
from consult.routing.loads import MongoLoads
from consult.settings import ConsultSettings
from consult.statistics import MongoFigures, Statistics, build_statistics_api
from consult.statistics.open_cases import OpenCases
from consult.usecases import SERVICE, Attachments, Consults, Discussion, Drafts
from consult.usecases.joining import Joiner
from consult.usecases.signing import FreshSignIn
from consult.usecases.views import time_now
from imaging_common.audit import AuditTrail
from imaging_common.auth import TokenVerifier
from imaging_common.http import create_app
from imaging_common.messaging import Messaging
from imaging_common.messaging.outbox import Outbox, OutboxRelay
from imaging_common.messaging.outbox_publisher import OutboxPublisher
from imaging_common.mongo import connect
from imaging_common.people import KeycloakAccounts, KeycloakAdmin, KeycloakDirectory
from imaging_common.repeating import Repeating
from imaging_common.telemetry import setup_telemetry, shutdown_telemetry

CALL_SECONDS = 10.0
COUNT_SECONDS = 30.0
"""Between two counts of the open cases for the metrics."""


def build_app(settings: ConsultSettings | None = None) -> FastAPI:
    """The service with everything connected."""
    settings = settings or ConsultSettings()
    setup_telemetry(SERVICE, settings)
    client = connect(settings)
    database = client[settings.database]
    outbox = Outbox(database)
    store = MongoConsultStore(client, settings.database, outbox)
    hospitals = MongoHospitalBook(database)
    files = GridFiles(database)
    audit = AuditTrail(SERVICE, OutboxPublisher(outbox))
    verifier = TokenVerifier.of(settings)
    admin = KeycloakAdmin(
        settings.oidc_issuer, settings.directory_client_id, settings.directory_client_secret.get_secret_value()
    )
    directory, accounts = KeycloakDirectory(admin), KeycloakAccounts(admin, settings.invitation_client)
    http = httpx.AsyncClient(timeout=CALL_SECONDS)
    studies = GatewayStudies(http, settings.dicomweb_url)
    kept = MongoKeptSettings(database)
    policies = HospitalPolicies(kept, hospitals, audit, settings.limit_minute_seconds)
    timers = MongoTimers(database)
    figures = MongoFigures(database, settings.time_zone)
    statistics = Statistics(figures, audit, time_now, settings.time_zone)
    hours = Hours(zone=settings.time_zone, day_begins=settings.duty_day_begins, day_ends=settings.duty_day_ends)
    experts = Experts(kept, directory, hospitals, audit, hours, time_now)
    loads = MongoLoads(database)
    routing = Routing(kept, experts, directory, hospitals, loads, studies, audit, settings.routing_most_open)
    book = MongoInvitationBook(database)
    names = MongoHospitalNames(database)
    work = build_report_work(settings, database, store, files, PolicyLetterheads(policies, names), http)
    joiners: list[Joiner] = [
        FreshSignIn(settings.signing_seconds),
        RoutingJoiner(routing, experts, directory, hospitals),
        InvitationJoiner(book),
        OutputsJoiner(work.book),
        LimitsJoiner(policies, timers),
    ]
    consults = Consults(store, hospitals, audit, directory, policies, studies, joiners)
    attachments = Attachments(store, files, consults, audit)
    discussion = Discussion(store, consults, directory, audit)
    outside = settings.invited_hospital
    reports = Reports(consults, store, work.book, work.book, files, work.making, audit, time_now)
    links = Links(settings.portal_url, outside, settings.invitation_seconds)
    mail = InvitationMail(store, book, accounts, links, time_now)
    invitations = Invitations(store, consults, book, accounts, directory, hospitals, audit, mail, time_now)
    scheduler = Scheduler(store, timers, time_now, settings.limit_poll_seconds)
    counting = Repeating("open-cases", OpenCases(database).show, COUNT_SECONDS)
    messaging = Messaging(SERVICE, settings)
    messaging.include(build_router(hospitals, names, work.receipts))
    relay = OutboxRelay(outbox, messaging.publisher)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await store.prepare()
        await book.prepare()
        await timers.prepare()
        await figures.prepare()
        await relay.start()
        await messaging.start()
        await mail.start()
        await scheduler.start()
        await work.start()
        await counting.start()
        try:
            yield
        finally:
            # at the same time: each may wait for its step
            await asyncio.gather(counting.stop(), work.stop(), scheduler.stop(), mail.stop())
            await messaging.stop()
            await relay.stop()
            await directory.close()
            await http.aclose()
            await client.close()
            shutdown_telemetry()

    app = create_app(SERVICE, settings, lifespan=lifespan, checks={"kafka": messaging.check, "mongodb": store.check})
    parts = [
        build_attachments_api(attachments, verifier),
        build_discussion_api(discussion, verifier),
        build_routing_api(routing, verifier),
        build_experts_api(experts, verifier),
        build_invitations_api(invitations, outside, verifier),
        build_policies_api(policies, verifier),
        build_statistics_api(statistics, verifier),
        build_reports_api(reports, verifier),
    ]
    app.include_router(build_api(consults, Drafts(store, consults), verifier, parts))
    return app
