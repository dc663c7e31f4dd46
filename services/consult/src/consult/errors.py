"""Errors of the consult service.

RejectedError
├── NotFound         there is no such consult for this person
├── NotAllowed       the person may see the case, but this is not theirs to do
├── Conflict         somebody else was faster, or the state does not allow it
└── InvalidConsult   the application or report lacks something
"""

from imaging_common.errors import RejectedError


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
    """The application or report lacks something."""
