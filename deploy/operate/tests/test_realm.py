"""The realm holds what the services rely on, and no secret."""

import json
import re
from typing import Any

import pytest

from imaging_native.region import USERS
from imaging_operate.setup.realm import build_realm, client_ids, people, read_realm, secret_variable

REALM: dict[str, Any] = read_realm()
CLIENTS = {client["clientId"]: client for client in REALM["clients"]}


def mappers(client: str) -> dict[str, dict[str, str]]:
    return {mapper["name"]: mapper["config"] for mapper in CLIENTS[client]["protocolMappers"]}


@pytest.mark.parametrize("client", sorted(CLIENTS.keys() - {"onboarding", "notification-service", "invitations"}))
def test_every_access_token_is_for_the_imaging_cloud(client: str) -> None:
    audience = mappers(client)["audience"]
    assert (audience["included.custom.audience"], audience["access.token.claim"]) == ("imaging-cloud", "true")


def variables(*hospitals: str) -> dict[str, str]:
    secrets = {secret_variable(client): f"secret of {client}" for client in client_ids(hospitals, ["residents"])}
    return {**secrets, "PORTAL_URL": "https://portal.example"}


@pytest.mark.parametrize("hospital", ["community", "st-mary"])
def test_edge_agent_cannot_choose_its_hospital(hospital: str) -> None:
    realm = build_realm(variables(hospital), [hospital], ["residents"])
    (client,) = [client for client in realm["clients"] if client["clientId"].startswith("edge-")]
    assert (client["clientId"], client["secret"]) == (f"edge-{hospital}", f"secret of edge-{hospital}")
    claims = {mapper["name"]: mapper["config"] for mapper in client["protocolMappers"]}
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
        if "serviceAccountClientId" not in user
    }
    assert users == {user: (hospital, set(roles)) for user, (_, hospital, roles) in USERS.items()}


def test_secrets_come_from_variables() -> None:
    secrets = [client["secret"] for client in REALM["clients"] if not client["publicClient"]]
    secrets += [credential["value"] for user in REALM["users"] for credential in user.get("credentials", [])]
    assert all(re.fullmatch(r"\$\{[A-Z_<>]+\}", secret) for secret in secrets)


def test_every_role_of_people_has_somebody_and_only_the_portal_itself_is_the_gateway() -> None:
    people = [user for user in REALM["users"] if "serviceAccountClientId" not in user]
    roles = {"doctor", "expert", "coordinator", "hospital-operator", "region-operator", "auditor"}
    assert {role for user in people for role in user["realmRoles"]} == roles
    accounts = {user["serviceAccountClientId"]: user for user in REALM["users"] if "serviceAccountClientId" in user}
    assert {name: account.get("realmRoles", []) for name, account in accounts.items()} == {
        "portal": ["gateway"],
        "onboarding": [],
        "consult-service": [],
        "notification-service": [],
    }


def test_onboarding_manages_clients_and_is_of_no_use_at_any_service() -> None:
    (account,) = [user for user in REALM["users"] if user.get("serviceAccountClientId") == "onboarding"]
    assert account["clientRoles"] == {"realm-management": ["manage-clients"]}
    assert "protocolMappers" not in CLIENTS["onboarding"]


def test_second_factor_is_asked_of_who_has_one() -> None:
    flows = {flow["alias"]: flow["authenticationExecutions"] for flow in REALM["authenticationFlows"]}
    (forms,) = [step["flowAlias"] for step in flows[REALM["browserFlow"]] if step["authenticatorFlow"]]
    (otp,) = [step for step in flows[forms] if step["authenticatorFlow"]]
    assert otp["requirement"] == "CONDITIONAL"
    assert {step["authenticator"] for step in flows[otp["flowAlias"]]} == {
        "conditional-user-configured",
        "auth-otp-form",
    }
    assert "CONFIGURE_TOTP" in {action["alias"] for action in REALM["requiredActions"] if action["enabled"]}


def test_provider_ends_the_portals_sessions() -> None:
    attributes = CLIENTS["portal"]["attributes"]
    assert attributes["backchannel.logout.url"] == "${PORTAL_URL}/auth/backchannel-logout"
    assert attributes["backchannel.logout.session.required"] == "true"


def test_services_look_people_up_and_only_consult_makes_accounts() -> None:
    rights = {user["serviceAccountClientId"]: user["clientRoles"] for user in REALM["users"] if "clientRoles" in user}
    assert rights["notification-service"] == {"realm-management": ["view-users"]}
    assert rights["consult-service"] == {"realm-management": ["view-users", "manage-users"]}
    assert "protocolMappers" not in CLIENTS["notification-service"]


def test_nobody_signs_in_by_the_client_of_the_invitations() -> None:
    client = CLIENTS["invitations"]
    flows = ("standardFlowEnabled", "implicitFlowEnabled", "directAccessGrantsEnabled", "serviceAccountsEnabled")
    assert not any(client[flow] for flow in flows)
    assert client["redirectUris"] == ["${PORTAL_URL}/portal/consults/*"]


def test_people_exist_where_they_have_a_password_and_mail_where_there_is_a_server() -> None:
    given = variables("community") | {"OPERATOR_PASSWORD": 'quote " in it'}
    realm = build_realm(given, ["community"], ["residents"])
    (operator,) = [user for user in realm["users"] if "credentials" in user]
    assert (operator["username"], operator["credentials"][0]["value"]) == ("operator.region", 'quote " in it')
    assert "smtpServer" not in realm
    realm = build_realm({**given, "MAIL_HOST": "mail.example", "MAIL_PORT": "25"}, ["community"], ["residents"])
    assert (realm["smtpServer"]["host"], realm["smtpServer"]["port"]) == ("mail.example", "25")


def test_missing_secret_of_a_client_is_named() -> None:
    with pytest.raises(KeyError, match="EDGE_TCM_CLIENT_SECRET"):
        build_realm(variables("community"), ["community", "tcm"], ["residents"])


def test_nothing_is_left_to_fill_in() -> None:
    everybody = dict.fromkeys(people().values(), "a password")
    realm = build_realm(variables("tcm") | everybody | {"MAIL_HOST": "mail", "MAIL_PORT": "25"}, ["tcm"], ["residents"])
    left = re.findall(r"<[a-z]+>|\$\{[A-Z_]+\}", json.dumps(realm))
    assert left == []
