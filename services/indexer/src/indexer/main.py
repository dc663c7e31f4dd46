"""The composition root of the indexer."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from fastapi import FastAPI

from imaging_common.http import create_app
from imaging_common.messaging import Messaging
from imaging_common.messaging.outbox import Outbox, OutboxRelay
from imaging_common.mongo import connect
from imaging_common.objects.model import ARCHIVE_BUCKET, CACHE_BUCKET, STAGING_BUCKET
from imaging_common.objects.store import MinioObjectStore
from imaging_common.repeating import Repeating, stop_all
from indexer.adapters.fill_listings import fill_listings
from indexer.adapters.mongo_index import MongoIndex
from indexer.adapters.mongo_links import MongoLinks
from indexer.adapters.mongo_reports import MongoReports
from indexer.handlers import (
    build_check_router,
    build_instances_router,
    build_reports_router,
    build_residents_router,
    build_router,
)
from indexer.settings import IndexerSettings
from indexer.usecases.announce_study import AnnounceStudy
from indexer.usecases.check_study import CheckStudy
from indexer.usecases.command_study import CommandStudy
from indexer.usecases.evict_instances import EvictInstances
from indexer.usecases.index_catalogue import IndexCatalogue
from indexer.usecases.index_manifest import IndexManifest
from indexer.usecases.index_report import IndexReport
from indexer.usecases.link_patient import LinkPatient, MergeResidents
from indexer.usecases.settle_quiet_studies import SettleQuietStudies
from indexer.usecases.sweep_objects import IndexObject, SweepObjects
from indexer.usecases.withdraw_study import WithdrawStudy

SERVICE = "indexer"


def build_app(settings: IndexerSettings | None = None) -> FastAPI:
    """The service with everything connected."""
    settings = settings or IndexerSettings()
    client = connect(settings)
    outbox = Outbox(client[settings.database])
    index = MongoIndex(client, client[settings.database], outbox, epoch=settings.epoch)
    store = MinioObjectStore(settings)
    index_manifest = IndexManifest(index, settings.quiet_seconds)
    index_object = IndexObject(index, store, index_manifest)
    index_catalogue = IndexCatalogue(index, store)
    sweep = SweepObjects(index, store, index_object, index_catalogue)
    messaging = Messaging(SERVICE, settings)
    messaging.include(
        build_router(index, AnnounceStudy(index), index_catalogue, WithdrawStudy(index), CommandStudy(index))
    )
    messaging.include(build_check_router(CheckStudy(index, store, index_object)))
    reports = MongoReports(client[settings.database])
    index_report = IndexReport(index, reports, store)
    messaging.include(build_reports_router(index_report))
    links = MongoLinks(client, client[settings.database])
    link_patient = LinkPatient(index, links)
    messaging.include(build_residents_router(link_patient, MergeResidents(links)))
    instance_readers = [Messaging(SERVICE, settings) for _ in range(settings.instance_readers)]
    for reader in instance_readers:
        reader.include(build_instances_router(index_object, EvictInstances(index)))
    relay = OutboxRelay(outbox, messaging.publisher)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await index.prepare()
        await reports.prepare()
        await links.prepare()
        await fill_listings(client[settings.database])
        await relay.start()
        await asyncio.gather(*(reader.start() for reader in (messaging, *instance_readers)))
        rounds = [
            Repeating("quiet", SettleQuietStudies(index), settings.quiet_poll_seconds),
            Repeating("staging", lambda: sweep(STAGING_BUCKET), settings.sweep_seconds),
            Repeating("archive", lambda: sweep(ARCHIVE_BUCKET), settings.archive_sweep_seconds),
            Repeating("cache", lambda: sweep(CACHE_BUCKET), settings.cache_sweep_seconds),
            Repeating("links", link_patient.resume, settings.sweep_seconds),
            Repeating("reports", index_report.round, settings.reports_poll_seconds),
            Repeating("report-sweep", index_report.sweep, settings.archive_sweep_seconds),
            Repeating("report-review", index_report.rematch_all, settings.archive_sweep_seconds),
        ]
        for one in rounds:
            await one.start()
        try:
            yield
        finally:
            await stop_all(rounds)
            await asyncio.gather(*(reader.stop() for reader in (messaging, *instance_readers)))
            await relay.stop()
            await client.close()

    async def check_kafka() -> None:
        for reader in (messaging, *instance_readers):
            await reader.check()

    return create_app(SERVICE, settings, lifespan=lifespan, checks={"kafka": check_kafka, "mongodb": index.check})
