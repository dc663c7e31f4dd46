"""What may go wrong here.

ImagingError
├── RetryableError
│   └── VersionTaken     another copy changed the study first
└── RejectedError
    └── ForeignManifest  a manifest lies under another hospital's or study's key than it says
"""

from imaging_common.errors import RejectedError, RetryableError


class VersionTaken(RetryableError):
    """The study's version is no longer the one that was read."""


class ForeignManifest(RejectedError):
    """A manifest's content contradicts the key it lies under."""
