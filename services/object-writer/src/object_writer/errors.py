"""Errors of the object writer.

RetryableError
└── PackNotVerified   what the store gives back is not what was written; the pack is written again
"""

from imaging_common.errors import RetryableError


class PackNotVerified(RetryableError):
    """What the store gives back is not what was written."""
