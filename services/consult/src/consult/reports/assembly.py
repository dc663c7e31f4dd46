"""The part of the composition root that makes, keeps and sends reports."""

from dataclasses import dataclass

import httpx
from pymongo.asynchronous.database import AsyncDatabase

from consult.ports import ConsultStore, Files
from consult.reports.gateway_images import GatewayImages
from consult.reports.gathering import Gathering
from consult.reports.ingest import StowArchive, ingest_client
from consult.reports.making import Making
from consult.reports.ports import Letterheads
from consult.reports.press import ChildPress
from consult.reports.receipts import Receipts
from consult.reports.service_token import ServiceToken
from consult.reports.store import MongoReportBook
from consult.reports.worker import Worker
from consult.settings import ConsultSettings
from consult.usecases.views import time_now


@dataclass(frozen=True, slots=True)
class ReportWork:
    """What runs beside the requests."""

    book: MongoReportBook
    making: Making
    receipts: Receipts
    worker: Worker
    press: ChildPress
    ingest: httpx.AsyncClient

    async def start(self) -> None:
        """Make what is due, until `stop`."""
        await self.book.prepare()
        await self.worker.start()

    async def stop(self) -> None:
        """Leave the rest to the next start, or to another copy."""
        await self.worker.stop()
        await self.press.close()
        await self.ingest.aclose()


def build_report_work(
    settings: ConsultSettings,
    database: AsyncDatabase[dict[str, object]],
    store: ConsultStore,
    files: Files,
    letterheads: Letterheads,
    http: httpx.AsyncClient,
) -> ReportWork:
    """Connect it."""
    secret = settings.directory_client_secret.get_secret_value()
    token = ServiceToken(http, settings.oidc_issuer, settings.directory_client_id, secret)
    book, press = MongoReportBook(database), ChildPress()
    images = GatewayImages(http, settings.dicomweb_url, token)
    ingest = ingest_client(settings.ingest_url, settings.ingest_timeout_seconds, settings.ingest_ca)
    gathering = Gathering(book, images, letterheads, settings.portal_url, settings.time_zone)
    making = Making(store, book, files, gathering, press, StowArchive(ingest, token))
    worker = Worker(book, making, time_now)
    return ReportWork(book, making, Receipts(book, making, time_now), worker, press, ingest)
