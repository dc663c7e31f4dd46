"""The realm at Keycloak: clients, roles, flows, and the people of the file who have a password."""

import contextlib
import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from importlib import resources
from string import Template
from typing import Any

import httpx

REALM = "region"
OPERATOR = "OPERATOR_PASSWORD"
"""The variable of the first operator, who exists everywhere."""
DEADLINE_SECONDS = 180

Json = dict[str, Any]


class RealmFailed(Exception):
    """Keycloak refused; the text says what it answered."""


def read_realm() -> Json:
    """The realm with its places for variables (`${…}`), hospitals and organisations (`<hospital>`)."""
    text = resources.files(__package__).joinpath("realm.json").read_text("utf-8")
    realm: Json = json.loads(text)
    return realm


def secret_variable(client_id: str) -> str:
    """The variable that fills the secret of a client: `edge-tcm` has `EDGE_TCM_CLIENT_SECRET`."""
    return f"{client_id.upper().replace('-', '_')}_CLIENT_SECRET"


def client_ids(hospitals: Sequence[str], organisations: Sequence[str]) -> list[str]:
    """The clients that have a secret."""
    clients = _expand(read_realm()["clients"], hospitals, organisations)
    return [client["clientId"] for client in clients if not client["publicClient"]]


def people() -> dict[str, str]:
    """Everybody of the file → the variable that fills their password."""
    return {user["username"]: _password_variable(user) for user in read_realm()["users"] if "credentials" in user}


def build_realm(variables: Mapping[str, str], hospitals: Sequence[str], organisations: Sequence[str]) -> Json:
    """The realm as Keycloak takes it; people without a password are left out, e-mail without `MAIL_HOST`, too.

    Raises
    ------
    KeyError
        A client has no secret, or `PORTAL_URL` is missing.
    """
    realm = read_realm()
    realm["clients"] = _expand(realm["clients"], hospitals, organisations)
    realm["users"] = [
        user for user in realm["users"] if "credentials" not in user or variables.get(_password_variable(user))
    ]
    if not variables.get("MAIL_HOST"):
        del realm["smtpServer"]
    filled: Json = _fill(realm, variables)
    return filled


async def ensure_realm(url: str, user: str, password: str, realm: Json) -> str:
    """Make the realm; where it is already, only clients and roles that are missing are added. What was done.

    Raises
    ------
    RealmFailed
        Keycloak refused.
    httpx.HTTPError
        It does not answer.
    """
    name = realm["realm"]
    async with admin_client(url, user, password) as client:
        if (await client.get(f"/admin/realms/{name}")).status_code == httpx.codes.NOT_FOUND:
            answer = await client.post("/admin/realms", json=realm)
            if answer.is_error:
                raise RealmFailed(f"Keycloak refused the realm {name}: {answer.status_code} {answer.text[:500]}")
            return f"realm {name} made"
        wanted = {"ifResourceExists": "SKIP", "clients": realm["clients"], "roles": realm["roles"]}
        answer = await client.post(f"/admin/realms/{name}/partialImport", json=wanted)
        if answer.is_error:
            raise RealmFailed(f"Keycloak refused additions to {name}: {answer.status_code} {answer.text[:500]}")
        return f"realm {name} was there, {answer.json().get('added', 0)} clients and roles added"


@contextlib.asynccontextmanager
async def admin_client(url: str, user: str, password: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of Keycloak's admin API, signed in for a minute.

    Raises
    ------
    RealmFailed
        The administrator is not known.
    """
    async with httpx.AsyncClient(base_url=url, timeout=DEADLINE_SECONDS) as client:
        form = {"grant_type": "password", "client_id": "admin-cli", "username": user, "password": password}
        token = await client.post("/realms/master/protocol/openid-connect/token", data=form)
        if token.is_error:
            raise RealmFailed(f"Keycloak does not take its administrator {user}: {token.status_code}")
        client.headers["Authorization"] = f"Bearer {token.json()['access_token']}"
        yield client


def _expand(clients: list[Json], hospitals: Sequence[str], organisations: Sequence[str]) -> list[Json]:
    expanded: list[Json] = []
    for client in clients:
        place = re.search(r"<(hospital|organisation)>", client["clientId"])
        if place is None:
            expanded.append(client)
            continue
        text = json.dumps(client)
        for name in hospitals if place[1] == "hospital" else organisations:
            variable = name.upper().replace("-", "_")
            expanded.append(json.loads(text.replace(place[0], name).replace(place[0].upper(), variable)))
    return expanded


def _password_variable(user: Json) -> str:
    return str(user["credentials"][0]["value"]).strip("${}")


def _fill(value: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return Template(value).substitute(variables)
    if isinstance(value, list):
        return [_fill(one, variables) for one in value]
    if isinstance(value, dict):
        return {key: _fill(one, variables) for key, one in value.items()}
    return value
