"""The part of the composition root behind the operators' pages."""

from dataclasses import dataclass
from typing import Any

import httpx
from pymongo.asynchronous.database import AsyncDatabase

from gateway.live import LiveHub
from gateway.model import EdgeSpoke
from gateway.operations.desk import Operations
from gateway.operations.kafka_dead_letters import KafkaDeadLetters
from gateway.operations.onboarding import Addresses
from gateway.operations.onboarding_servers import KafkaBroker, KeycloakClients, RegionSigner
from gateway.operations.onboarding_store import MongoOnboardings
from gateway.operations.stores import MongoEchoes, MongoEdgeLog, MongoReplays, MongoUsage
from gateway.ports import HospitalRegistry
from gateway.settings import GatewaySettings
from gateway.usecases.follow_edges import FollowEdges
from gateway.usecases.onboard_hospital import OnboardHospital
from gateway.usecases.replay_letters import LetterDesk
from imaging_common.audit import AuditTrail
from imaging_common.contracts.topics import load_topics
from imaging_common.messaging.administration import Way

FOLLOWED_TOPICS = ("storage-measured",)
"""Beside those that retrievals follow."""
CALL_SECONDS = 15.0


@dataclass(frozen=True)
class Operated:
    """What the composition root starts, reads with and stops."""

    desk: Operations
    follow: FollowEdges
    stores: tuple[Any, ...]
    client: httpx.AsyncClient

    async def prepare(self) -> None:
        """Create the indexes."""
        for store in self.stores:
            await store.prepare()

    async def close(self) -> None:
        """Close the connections."""
        await self.client.aclose()


def compose_operations(
    settings: GatewaySettings,
    database: AsyncDatabase[dict[str, Any]],
    registry: HospitalRegistry,
    audit: AuditTrail,
    live: LiveHub,
) -> Operated:
    """What lacks its credentials is left out."""
    log, echoes, usage, replays = (
        MongoEdgeLog(database),
        MongoEchoes(database),
        MongoUsage(database),
        MongoReplays(database),
    )
    client = httpx.AsyncClient(timeout=CALL_SECONDS)
    connection = settings.replay_connection
    letters = None
    if connection is not None:
        letters = LetterDesk(KafkaDeadLetters(connection), replays, audit, load_topics(settings.topics_dir))
    desk = Operations(
        log=log,
        echoes=echoes,
        usage=usage,
        letters=letters,
        onboard=None
        if settings.missing_for_onboarding
        else _onboarding(settings, database, registry, audit, live, client),
        addresses=Addresses(
            kafka_bootstrap=settings.edge_kafka_bootstrap,
            kafka_tls=settings.edge_kafka_tls,
            ingest_url=settings.edge_ingest_url,
            gateway_url=settings.edge_gateway_url,
            oidc_issuer=settings.oidc_issuer,
        ),
    )
    return Operated(desk, FollowEdges(log, echoes, usage, live), (log, echoes, usage, replays), client)


def _onboarding(
    settings: GatewaySettings,
    database: AsyncDatabase[dict[str, Any]],
    registry: HospitalRegistry,
    audit: AuditTrail,
    live: LiveHub,
    client: httpx.AsyncClient,
) -> OnboardHospital:
    assert settings.onboarding_ca_certificate is not None
    assert settings.onboarding_ca_key is not None

    async def tell(hospital: str) -> None:
        await live.publish(EdgeSpoke(hospital))

    return OnboardHospital(
        MongoOnboardings(database, settings.session_secret.get_secret_value()),
        registry,
        KafkaBroker(
            settings.kafka_bootstrap,
            settings.onboarding_kafka_username,
            settings.onboarding_kafka_password.get_secret_value(),
            Way(tls=settings.kafka_tls, ca=settings.kafka_ca),
            settings.topics_dir,
            settings.onboarding_replication,
        ),
        KeycloakClients(
            client,
            settings.oidc_issuer,
            settings.onboarding_client_id,
            settings.onboarding_client_secret.get_secret_value(),
            settings.oidc_audience,
        ),
        RegionSigner(
            settings.onboarding_ca_certificate, settings.onboarding_ca_key, settings.onboarding_certificate_days
        ),
        audit,
        tell,
    )
