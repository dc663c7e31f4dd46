"""The part of the composition root for people: who they are, how they are reached, and the loop that does it."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter
from pymongo import AsyncMongoClient

from imaging_common.auth import TokenVerifier
from imaging_common.people import KeycloakDirectory
from notification.deliveries.api import build_deliveries_api
from notification.deliveries.dispatch import Courier
from notification.deliveries.model import Channel
from notification.deliveries.mongo_deliveries import MongoDeliveries
from notification.deliveries.ports import Sender
from notification.deliveries.sms import HttpSmsSender
from notification.deliveries.smtp import SmtpSender
from notification.settings import NotificationSettings


@dataclass
class Deliveries:
    """What the composition root starts and stops."""

    store: MongoDeliveries
    courier: Courier
    directory: KeycloakDirectory
    sms: HttpSmsSender
    api: APIRouter

    async def start(self) -> None:
        """Make the indexes; begin to send."""
        await self.store.prepare()
        await self.courier.start()

    async def stop(self) -> None:
        """End; what was claimed is sent by whoever claims it next."""
        await self.courier.stop()
        await self.sms.close()
        await self.directory.close()


def compose_deliveries(settings: NotificationSettings, client: AsyncMongoClient[dict[str, Any]]) -> Deliveries:
    """Everything connected; a channel without an address in the settings is not there."""
    store = MongoDeliveries(client, settings.database, settings.delivery_keep_days)
    secret = settings.directory_client_secret.get_secret_value()
    directory = KeycloakDirectory.of(settings.oidc_issuer, settings.directory_client_id, secret)
    sms = HttpSmsSender(settings)
    senders: dict[Channel, Sender] = {}
    if settings.smtp_host:
        senders["e-mail"] = SmtpSender(settings)
    if settings.sms_url:
        senders["sms"] = sms
    courier = Courier(
        store,
        store,
        directory,
        senders,
        settings.chain,
        ZoneInfo(settings.time_zone),
        timedelta(hours=settings.give_up_hours),
    )
    return Deliveries(store, courier, directory, sms, build_deliveries_api(store, store, TokenVerifier.of(settings)))
