"""`Broker`, `Clients` and `Signer` at Kafka, at a Keycloak, and with the region's authority."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from gateway.errors import OnboardingFailed
from imaging_common import pki
from imaging_common.access import EDGE_ROLE
from imaging_common.contracts.topics import load_topics
from imaging_common.messaging import administration
from imaging_common.messaging.permissions import edge_principal, plan


class KafkaBroker:
    """One connection for each act; off the event loop."""

    def __init__(
        self, bootstrap: str, user: str, password: str, way: administration.Way, topics: Path, replication: int
    ) -> None:
        self._connection = (bootstrap, user, password, way)
        self._topics = topics
        self._replication = replication

    async def prepare(self, hospital: str) -> None:
        """See `Broker.prepare`: what the hospital's edge agent, and the services for it, may do."""
        topics, acls = plan(load_topics(self._topics), [hospital], [])

        def act(admin: AdminClient) -> None:
            administration.apply(admin, topics, acls, replication=self._replication)

        await self._do(act)

    async def set_password(self, hospital: str, password: str) -> None:
        """See `Broker.set_password`."""
        await self._do(lambda admin: administration.set_password(admin, edge_principal(hospital), password))

    async def _do(self, act: Any) -> None:
        def work() -> None:
            act(administration.connect(*self._connection))

        try:
            await asyncio.to_thread(work)
        except KafkaException as error:
            raise OnboardingFailed(f"Kafka: {error.args[0].name()}") from error
        except (RuntimeError, TimeoutError) as error:
            raise OnboardingFailed("Kafka: not in force in time") from error


class KeycloakClients:
    """Keycloak's admin REST API, as a client that may manage clients."""

    def __init__(self, client: httpx.AsyncClient, issuer: str, client_id: str, secret: str, audience: str) -> None:
        self._client = client
        self._issuer = issuer.rstrip("/")
        self._credentials = (client_id, secret)
        self._audience = audience

    async def put(self, hospital: str, secret: str) -> None:
        """See `Clients.put`."""
        wanted = edge_client(hospital, secret, self._audience)
        address = f"{self._issuer.replace('/realms/', '/admin/realms/')}/clients"
        try:
            token = await self._client.post(
                f"{self._issuer}/protocol/openid-connect/token",
                data={"grant_type": "client_credentials"},
                auth=self._credentials,
            )
            token.raise_for_status()
            headers = {"Authorization": f"Bearer {token.json()['access_token']}"}
            found = await self._client.get(address, params={"clientId": wanted["clientId"]}, headers=headers)
            found.raise_for_status()
            known = found.json()
            if known:
                answer = await self._client.put(
                    f"{address}/{known[0]['id']}", json={**known[0], **wanted}, headers=headers
                )
            else:
                answer = await self._client.post(address, json=wanted, headers=headers)
            answer.raise_for_status()
        except httpx.HTTPStatusError as error:
            raise OnboardingFailed(f"identity provider: {error.response.status_code}") from error
        except (httpx.HTTPError, ValueError, KeyError) as error:
            raise OnboardingFailed(f"identity provider: {type(error).__name__}") from error


def edge_client(hospital: str, secret: str, audience: str) -> dict[str, Any]:
    """A hospital's client as the realm of `region setup` has them: its token names the role and the hospital."""

    def claim(name: str, value: str, kind: str) -> dict[str, Any]:
        config = {"claim.name": name, "claim.value": value, "jsonType.label": kind, "access.token.claim": "true"}
        return {
            "name": name,
            "protocol": "openid-connect",
            "protocolMapper": "oidc-hardcoded-claim-mapper",
            "config": config,
        }

    aud = {"included.custom.audience": audience, "access.token.claim": "true", "id.token.claim": "false"}
    return {
        "clientId": edge_principal(hospital),
        "enabled": True,
        "protocol": "openid-connect",
        "publicClient": False,
        "secret": secret,
        "standardFlowEnabled": False,
        "directAccessGrantsEnabled": False,
        "serviceAccountsEnabled": True,
        "defaultClientScopes": ["basic"],
        "optionalClientScopes": [],
        "protocolMappers": [
            {
                "name": "audience",
                "protocol": "openid-connect",
                "protocolMapper": "oidc-audience-mapper",
                "config": aud,
            },
            claim("roles", f'["{EDGE_ROLE}"]', "JSON"),
            claim("hospital", hospital, "String"),
        ],
    }


class RegionSigner:
    """The authority's files are read for each certificate, so that they can be replaced."""

    def __init__(self, certificate: Path, key: Path, days: int) -> None:
        self._files = (certificate, key)
        self._lifetime = timedelta(days=days)

    async def sign(self, hospital: str, ae_titles: list[str], csr: str) -> tuple[str, str, str]:
        """See `Signer.sign`."""
        return await asyncio.to_thread(self._sign, hospital, ae_titles, csr)

    def _sign(self, hospital: str, ae_titles: list[str], csr: str) -> tuple[str, str, str]:
        try:
            authority = pki.load_authority(*self._files)
            own = None if csr else pki.new_key()
            public = own.public_key() if own else pki.public_key_of_request(csr.encode())
        except pki.BadRequest as error:
            raise OnboardingFailed(f"authority: {error}") from error
        issued = authority.issue(
            public,
            common_name=edge_principal(hospital),
            hospital=hospital,
            ae_titles=ae_titles,
            lifetime=self._lifetime,
            server=True,
        )
        key = pki.key_pem(own).decode() if own else ""
        return pki.certificate_pem(issued).decode(), key, authority.pem.decode()
