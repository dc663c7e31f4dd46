"""Errors of the consult service.

RejectedError
├── NotFound         there is no such consult for this person
├── NotAllowed       the person may see the case, but this is not theirs to do
├── Conflict         somebody else was faster, or the state does not allow it
├── InvalidConsult   the application, the report or the order lacks something
└── Reauthenticate   signing needs a fresh sign-in
RetryableError
└── AccessUnknown    the access rule cannot be asked now
"""

from collections.abc import Sequence

from imaging_common.errors import RejectedError, RetryableError


class NotFound(RejectedError):
    """There is no such consult for this person."""


class NotAllowed(RejectedError):
    """The person may see the case, but this is not theirs to do."""


class Conflict(RejectedError):
    """Somebody else was faster, or the state does not allow it: where the case is now, and who brought it there."""

    def __init__(self, text: str, version: int, state: str, by: str) -> None:
        super().__init__(text)
        self.version, self.state, self.by = version, state, by


class InvalidConsult(RejectedError):
    """The application, the report or the order lacks something: which fields, where it is known."""

    def __init__(self, text: str, missing: Sequence[str] = ()) -> None:
        super().__init__(text)
        self.missing = list(missing)


class Reauthenticate(RejectedError):
    """Signing needs a sign-in that is fresh."""


class AccessUnknown(RetryableError):
    """The access rule cannot be asked now: nothing is decided without it."""
