"""`Directory` over Keycloak's admin REST API; its client may view users and nothing else (`view-users`)."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any

from imaging_common.people.admin import KeycloakAdmin
from imaging_common.people.directory import Person

MEMORY_SECONDS = 60.0
MEMORY_ENTRIES = 5_000
PAGE = 200
AT_ONCE = 8


class KeycloakDirectory:
    """Looks people up; what was answered is remembered for a minute, also that somebody does not exist."""

    def __init__(self, admin: KeycloakAdmin, now: Callable[[], float] = time.monotonic) -> None:
        self._admin = admin
        self._now = now
        self._memory: OrderedDict[tuple[str, ...], tuple[float, Any]] = OrderedDict()
        self._gate = asyncio.Semaphore(AT_ONCE)

    @classmethod
    def of(cls, issuer: str, client_id: str, secret: str) -> "KeycloakDirectory":
        """For the provider of a service's settings."""
        return cls(KeycloakAdmin(issuer, client_id, secret))

    async def close(self) -> None:
        """Close its connections."""
        await self._admin.close()

    async def person(self, user: str) -> Person | None:
        """See `Directory.person`."""
        return await self._remembered(("person", user), lambda: self._person(user))  # type: ignore[no-any-return]

    async def group(self, hospital: str, role: str) -> list[Person]:
        """See `Directory.group`."""
        return list(await self._remembered(("group", hospital, role), lambda: self._group(hospital, role)))

    async def _remembered(self, key: tuple[str, ...], ask: Callable[[], Awaitable[Any]]) -> Any:
        known = self._memory.get(key)
        if known is not None and self._now() - known[0] < MEMORY_SECONDS:
            return known[1]
        answer = await ask()
        self._memory[key] = (self._now(), answer)
        self._memory.move_to_end(key)
        while len(self._memory) > MEMORY_ENTRIES:
            self._memory.popitem(last=False)
        return answer

    async def _person(self, user: str) -> Person | None:
        found = await self._admin.get("/users", username=user, exact="true", briefRepresentation="false")
        account = next((one for one in found or [] if one.get("username") == user and one.get("enabled")), None)
        return None if account is None else await self._with_roles(account)

    async def _group(self, hospital: str, role: str) -> list[Person]:
        accounts = [
            one for one in await self._accounts(hospital) if one.get("enabled") and _one(one, "hospital") == hospital
        ]
        people = await asyncio.gather(*map(self._with_roles, accounts))
        return sorted((person for person in people if role in person.roles), key=lambda person: person.user)

    async def _accounts(self, hospital: str) -> list[dict[str, Any]]:
        accounts: list[dict[str, Any]] = []
        wanted: dict[str, str | int] = {"q": f'hospital:"{hospital}"'} if hospital else {}
        while True:
            page = await self._admin.get("/users", briefRepresentation="false", first=len(accounts), max=PAGE, **wanted)
            accounts += page or []
            if len(page or []) < PAGE:
                return accounts

    async def _with_roles(self, account: dict[str, Any]) -> Person:
        async with self._gate:
            roles = await self._admin.get(f"/users/{account['id']}/role-mappings/realm/composite")
        return person_of(account, frozenset(str(role["name"]) for role in roles or []))


def person_of(account: dict[str, Any], roles: frozenset[str]) -> Person:
    """A user representation of Keycloak as a person."""
    family, given = str(account.get("lastName") or ""), str(account.get("firstName") or "")
    han = bool(family) and "\u3400" <= family[0] <= "\u9fff"
    name = family + given if han else f"{given} {family}".strip()
    user = str(account["username"])
    return Person(
        user=user,
        name=name or user,
        hospital=_one(account, "hospital"),
        roles=roles,
        department=_one(account, "department"),
        email=str(account.get("email") or ""),
        phone=_one(account, "phone"),
        language="en" if _one(account, "locale").lower().startswith("en") else "zh",
    )


def _one(account: dict[str, Any], attribute: str) -> str:
    values = (account.get("attributes") or {}).get(attribute) or [""]
    return str(values[0])
