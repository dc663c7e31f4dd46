"""Errors of the edge agent.

RetryableError
└── CentreUnavailable   the centre did not take a batch; it is sent again
RejectedError
└── SpoolFull           the spool's bound is reached: 0xA700 to the sender
"""

from imaging_common.errors import RejectedError, RetryableError


class CentreUnavailable(RetryableError):
    """The centre did not take a batch; it is sent again."""


class SpoolFull(RejectedError):
    """The spool's bound is reached."""
