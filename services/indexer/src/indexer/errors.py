"""What may go wrong here.

ImagingError
├── RetryableError
│   ├── VersionTaken      another copy changed the study first
│   ├── ReportTaken       another copy changed the report first
│   └── CatalogueMissing  an announced catalogue is not in the object store (yet)
└── RejectedError
    ├── UnreadableReport  a report's facts in the archive cannot be read
    └── ForeignManifest   a manifest or catalogue lies under another hospital's or study's key than it says
"""

from imaging_common.errors import RejectedError, RetryableError


class VersionTaken(RetryableError):
    """The study's version is no longer the one that was read."""


class CatalogueMissing(RetryableError):
    """An announced catalogue is not in the object store; it comes, or a newer announcement does."""


class ForeignManifest(RejectedError):
    """A manifest's or catalogue's content contradicts the key it lies under."""


class ReportTaken(RetryableError):
    """The report's revision is no longer the one that was read."""


class UnreadableReport(RejectedError):
    """A report's facts in the archive cannot be read."""
