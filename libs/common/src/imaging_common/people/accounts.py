"""Accounts that a service makes for people who are invited; the real ones are in Keycloak, the fake is for unit tests.

An e-mail address is sent in bodies only: addresses end up in access logs and traces.
"""

from dataclasses import dataclass
from typing import Any, Protocol

from imaging_common.errors import RejectedError
from imaging_common.people.admin import KeycloakAdmin
from imaging_common.people.errors import DirectoryUnavailable

LOCALES = {"zh": "zh-CN", "en": "en"}


class AddressTaken(RejectedError):
    """Somebody else has an account with this e-mail address."""


@dataclass(frozen=True, slots=True)
class NewAccount:
    """Whose account it shall be; `email` and `name` are personal data."""

    user: str
    name: str
    email: str
    hospital: str
    role: str
    language: str = "zh"


class Accounts(Protocol):
    """Makes accounts; raises `DirectoryUnavailable` when there is no answer."""

    async def make(self, account: NewAccount) -> None:
        """Make it, with its role; one that is there already stays as it is.

        Raises
        ------
        AddressTaken
            Another account has its e-mail address.
        """
        ...

    async def has_password(self, user: str) -> bool:
        """Whether they can sign in already."""
        ...

    async def send_link(self, user: str, ends_at: str, seconds: int) -> None:
        """Have the provider e-mail a link, good for so long, that sets the password and ends at this address."""
        ...


class KeycloakAccounts:
    """`Accounts` in Keycloak; its client may manage users (`manage-users`)."""

    def __init__(self, admin: KeycloakAdmin, link_client: str) -> None:
        self._admin = admin
        self._link_client = link_client

    async def close(self) -> None:
        """Close its connections."""
        await self._admin.close()

    async def make(self, account: NewAccount) -> None:
        """See `Accounts.make`."""
        first, last = names_of(account.name)
        body = {
            "username": account.user,
            "email": account.email,
            "emailVerified": False,
            "enabled": True,
            "firstName": first,
            "lastName": last,
            "attributes": {"hospital": [account.hospital], "locale": [LOCALES[account.language]]},
        }
        answer = await self._admin.ask("POST", "/users", json=body)
        if answer.status_code != 409:
            self._admin.checked(answer)
        known = await self._id(account.user)
        if known is None:
            if answer.status_code == 409:
                raise AddressTaken("somebody else has an account with this e-mail address")
            raise DirectoryUnavailable("the identity provider does not know the account it made")
        await self._give_role(known, account.role)

    async def has_password(self, user: str) -> bool:
        """See `Accounts.has_password`."""
        credentials = await self._admin.get(f"/users/{await self._known(user)}/credentials")
        return any(one.get("type") == "password" for one in credentials or [])

    async def send_link(self, user: str, ends_at: str, seconds: int) -> None:
        """See `Accounts.send_link`."""
        path = f"/users/{await self._known(user)}/execute-actions-email"
        asked: dict[str, Any] = {"client_id": self._link_client, "redirect_uri": ends_at, "lifespan": seconds}
        self._admin.checked(await self._admin.ask("PUT", path, params=asked, json=["UPDATE_PASSWORD"]))

    async def _give_role(self, account: str, role: str) -> None:
        path = f"/users/{account}/role-mappings/realm"
        if any(one["name"] == role for one in await self._admin.get(path) or []):
            return
        found = [one for one in await self._admin.get(f"{path}/available") or [] if one["name"] == role]
        if not found:
            raise DirectoryUnavailable(f"the identity provider lets this client give nobody the role {role}")
        self._admin.checked(await self._admin.ask("POST", path, json=found))

    async def _known(self, user: str) -> str:
        found = await self._id(user)
        if found is None:
            raise DirectoryUnavailable("the identity provider does not know this account")
        return found

    async def _id(self, user: str) -> str | None:
        found = await self._admin.get("/users", username=user, exact="true")
        return next((str(one["id"]) for one in found or [] if one["username"] == user), None)


class FakeAccounts:
    """Accounts and e-mails in memory."""

    def __init__(self) -> None:
        self.made: dict[str, NewAccount] = {}
        self.passwords: set[str] = set()
        self.sent: list[tuple[str, str]] = []
        """(user, where the link ends)"""

    async def make(self, account: NewAccount) -> None:
        """See `Accounts.make`."""
        if any(one.email == account.email and one.user != account.user for one in self.made.values()):
            raise AddressTaken("somebody else has an account with this e-mail address")
        self.made.setdefault(account.user, account)

    async def has_password(self, user: str) -> bool:
        """See `Accounts.has_password`."""
        return user in self.passwords

    async def send_link(self, user: str, ends_at: str, seconds: int) -> None:
        """See `Accounts.send_link`."""
        self.sent.append((user, ends_at))


def names_of(name: str) -> tuple[str, str]:
    """(given, family): a Chinese name begins with the family's, others end with it."""
    if name and "\u3400" <= name[0] <= "\u9fff":
        return name[1:], name[:1]
    given, _, family = name.rpartition(" ")
    return given, family
