"""Errors of the ingest.

RejectedError
└── BadRequest   the request is no store request; nothing of it was stored
"""

from imaging_common.errors import RejectedError


class BadRequest(RejectedError):
    """The request is no store request (PS3.18 §10.5.1); `status` is the HTTP status to answer."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
