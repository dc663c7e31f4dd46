"""Errors of the object writer.

RetryableError
├── PackNotVerified   what the store gives back is not what was written; the pack is written again
└── LeaseLost         another copy of the service works on the series
RejectedError
└── ForeignManifest   a manifest's content contradicts the key it lies under
"""

from imaging_common.errors import RejectedError, RetryableError


class PackNotVerified(RetryableError):
    """What the store gives back is not what was written."""


class LeaseLost(RetryableError):
    """Another copy of the service works on the series."""


class ForeignManifest(RejectedError):
    """A manifest's content contradicts the key it lies under."""
