"""Errors of the edge agent.

RetryableError
├── CentreUnavailable   the centre did not take a batch; it is sent again
└── SpoolUnusable       the spool is full or its disk does not work: 0xA700 to the sender
RejectedError
└── BatchRefused        the centre can never take this batch as it is
"""

from imaging_common.errors import RejectedError, RetryableError


class CentreUnavailable(RetryableError):
    """The centre did not take a batch; nothing is known of it, it is sent again."""


class SpoolUnusable(RetryableError):
    """The spool is full or its disk does not work."""


class BatchRefused(RejectedError):
    """The centre refuses a request as such (HTTP 4xx); which instance is at fault shows when each goes alone."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the centre answered {status} to a batch")
        self.status = status
