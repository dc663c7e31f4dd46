"""Errors of the ingest.

RejectedError
├── BadRequest       the request is no store request
└── BadCallers       the list of callers cannot be read
RetryableError
└── ScratchFull      no room to keep what arrives
"""

from imaging_common.errors import RejectedError, RetryableError


class BadRequest(RejectedError):
    """The request is no store request (PS3.18 §10.5.1); `status` is the HTTP status to answer."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class BadCallers(RejectedError):
    """The setting `callers` cannot be read."""


class ScratchFull(RetryableError):
    """There is no room on the scratch volume to keep what arrives."""
