"""The part of the composition root for systems: feed, relay to Kafka, webhooks."""

from dataclasses import dataclass
from datetime import timedelta

from fastapi import APIRouter
from pymongo import AsyncMongoClient

from imaging_common.audit import AuditTrail
from imaging_common.auth import TokenVerifier
from imaging_common.messaging import KafkaPublisher
from imaging_common.messaging.outbox import Outbox
from imaging_common.messaging.outbox_lease import RelayLease
from imaging_common.messaging.outbox_publisher import OutboxPublisher
from notification.feed.api import build_feed_api
from notification.feed.mongo_documents import Document
from notification.feed.mongo_feed import MongoFeed
from notification.feed.publish import FeedRelay, Send
from notification.feed.settings import FeedSettings
from notification.webhooks.addresses import Rules, resolve
from notification.webhooks.api import build_webhooks_api
from notification.webhooks.dispatch import Dispatcher
from notification.webhooks.mongo_subscriptions import MongoSubscriptions
from notification.webhooks.ports import Notices
from notification.webhooks.sender import HttpSender
from notification.webhooks.usecases import Desk

SERVICE = "notification"


@dataclass
class Feeds:
    """What the composition root starts, asks and stops."""

    settings: FeedSettings
    store: MongoFeed
    subscriptions: MongoSubscriptions
    relay: FeedRelay
    dispatcher: Dispatcher
    sender: HttpSender
    publishers: list[KafkaPublisher]
    api: APIRouter

    async def start(self) -> None:
        """Make the indexes and the first organisations; begin to publish and to deliver."""
        await self.store.prepare()
        await self.subscriptions.prepare()
        for organisation in self.settings.organisations:
            await self.store.ensure(organisation)
        await self.relay.start()
        await self.dispatcher.start()

    async def stop(self) -> None:
        """End; what was not finished is done again."""
        await self.dispatcher.stop()
        await self.relay.stop()
        await self.sender.close()
        for publisher in self.publishers:
            await publisher.stop()


def compose_feeds(
    settings: FeedSettings, client: AsyncMongoClient[Document], database: str, outbox: Outbox, notices: Notices
) -> Feeds:
    """Everything connected; an organisation's topic has a connection of its own, so that none waits for another's."""
    store = MongoFeed(client, database, timedelta(days=settings.feed_retention_days))
    subscriptions = MongoSubscriptions(client[database], settings.webhook_seal.get_secret_value())
    rules = Rules(settings.webhook_http, tuple(settings.webhook_networks))
    sender = HttpSender(rules, settings.webhook_timeout_seconds, settings.webhook_ca)
    publishers: list[KafkaPublisher] = []

    def connection(_: str) -> Send:
        publishers.append(KafkaPublisher(SERVICE, settings))
        return publishers[-1].send

    fed = store.listen()
    dispatcher = Dispatcher(
        store,
        subscriptions,
        sender,
        notices,
        RelayLease(client[database]["webhooks.lease"]),
        fed,
        timedelta(hours=settings.webhook_disable_hours),
    )
    relay = FeedRelay(store, RelayLease(client[database]["feed.lease"]), store.listen(), connection)

    async def check(url: str) -> None:
        await resolve(url, rules)

    desk = Desk(
        feed=store,
        subscriptions=subscriptions,
        sender=sender,
        audit=AuditTrail(SERVICE, OutboxPublisher(outbox)),
        check=check,
        overlap=timedelta(hours=settings.webhook_overlap_hours),
        wake=fed.set,
    )
    verifier = TokenVerifier.of(settings)
    api = build_webhooks_api(desk, verifier)
    api.include_router(build_feed_api(store, verifier))
    return Feeds(settings, store, subscriptions, relay, dispatcher, sender, publishers, api)
