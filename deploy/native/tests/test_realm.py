"""The realm holds what the services rely on, and no secret."""

import json
import re
from typing import Any

import pytest

from imaging_native.keycloak import REALM_FILE
from imaging_native.region import USERS

REALM: dict[str, Any] = json.loads(REALM_FILE.read_text())
CLIENTS = {client["clientId"]: client for client in REALM["clients"]}


def mappers(client: str) -> dict[str, dict[str, str]]:
    return {mapper["name"]: mapper["config"] for mapper in CLIENTS[client]["protocolMappers"]}


@pytest.mark.parametrize("client", CLIENTS)
def test_every_access_token_is_for_the_imaging_cloud(client: str) -> None:
    audience = mappers(client)["audience"]
    assert (audience["included.custom.audience"], audience["access.token.claim"]) == ("imaging-cloud", "true")


@pytest.mark.parametrize("hospital", ["community", "secondary"])
def test_edge_agent_cannot_choose_its_hospital(hospital: str) -> None:
    claims = mappers(f"edge-{hospital}")
    assert claims["hospital"]["claim.value"] == hospital
    assert json.loads(claims["roles"]["claim.value"]) == ["edge-agent"]


def test_consult_service_is_no_edge_agent() -> None:
    claims = mappers("consult-service")
    assert json.loads(claims["roles"]["claim.value"]) == ["consult-service"]
    assert "hospital" not in claims


def test_portal_signs_in_by_code_with_pkce_and_returns_to_itself_only() -> None:
    portal = CLIENTS["portal"]
    assert portal["attributes"]["pkce.code.challenge.method"] == "S256"
    assert portal["redirectUris"] == ["${PORTAL_URL}/auth/callback"]
    assert not portal["directAccessGrantsEnabled"]


def test_roles_and_hospital_are_in_every_token_of_a_person() -> None:
    for claim in ("roles", "hospital"):
        config = mappers("portal")[claim]
        assert all(config[f"{where}.claim"] == "true" for where in ("access.token", "id.token", "userinfo.token"))


def test_users_are_those_of_the_region() -> None:
    users = {
        user["username"]: ("".join(user.get("attributes", {}).get("hospital", [])), set(user["realmRoles"]))
        for user in REALM["users"]
    }
    assert users == {user: (hospital, set(roles)) for user, (_, hospital, roles) in USERS.items()}


def test_secrets_come_from_variables() -> None:
    secrets = [client["secret"] for client in REALM["clients"]]
    secrets += [credential["value"] for user in REALM["users"] for credential in user["credentials"]]
    assert all(re.fullmatch(r"\$\{[A-Z_]+\}", secret) for secret in secrets)
