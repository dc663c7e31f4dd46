"""The directory of people, and a small one for unit tests. The real one is `KeycloakDirectory`."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with an account. `email` and `phone` are personal data: they are sent to, never logged or published."""

    user: str
    """`preferred_username`, as tokens name them."""
    name: str
    hospital: str
    roles: frozenset[str]
    department: str = ""
    email: str = ""
    phone: str = ""
    language: str = "zh"
    """`zh` or `en` (the account's `locale`)."""


class Directory(Protocol):
    """Looks people up; answers from a short memory, and raises `DirectoryUnavailable` when there is no answer."""

    async def person(self, user: str) -> Person | None:
        """One person."""
        ...

    async def group(self, hospital: str, role: str) -> list[Person]:
        """Everybody of this hospital with this role; an empty `hospital`: of the region itself."""
        ...


class FakeDirectory:
    """People in memory."""

    def __init__(self, *people: Person) -> None:
        self.people = {person.user: person for person in people}

    async def person(self, user: str) -> Person | None:
        """See `Directory.person`."""
        return self.people.get(user)

    async def group(self, hospital: str, role: str) -> list[Person]:
        """See `Directory.group`."""
        return [one for one in self.people.values() if one.hospital == hospital and role in one.roles]
