"""Who works in the region: what the identity provider knows of people beside their tokens."""

from imaging_common.people.accounts import Accounts, AddressTaken, FakeAccounts, KeycloakAccounts, NewAccount
from imaging_common.people.admin import KeycloakAdmin
from imaging_common.people.directory import Directory, FakeDirectory, Person
from imaging_common.people.errors import DirectoryUnavailable
from imaging_common.people.keycloak import KeycloakDirectory
from imaging_common.people.settings import DirectorySettings

__all__ = [
    "Accounts",
    "AddressTaken",
    "Directory",
    "DirectorySettings",
    "DirectoryUnavailable",
    "FakeAccounts",
    "FakeDirectory",
    "KeycloakAccounts",
    "KeycloakAdmin",
    "KeycloakDirectory",
    "NewAccount",
    "Person",
]
