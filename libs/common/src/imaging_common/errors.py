"""The errors that decide what becomes of a message or a request.

ImagingError
├── RetryableError     a dependency is away: try again with back-off
│   ├── PublishFailed  an event was not acknowledged by Kafka in time
│   └── NotReady       a dependency does not answer a health check
└── RejectedError      the input is at fault, trying again cannot help: dead letter at once
    └── BadMessage     a record that is no event: headers, JSON or schema do not hold
"""


class ImagingError(Exception):
    """Base of all errors of the region's own code. The text carries no personal data."""


class RetryableError(ImagingError):
    """A dependency is away; the same input may succeed later."""


class RejectedError(ImagingError):
    """The input can never succeed."""


class PublishFailed(RetryableError):
    """Kafka did not acknowledge an event within the deadline; it may or may not have been written."""


class NotReady(RetryableError):
    """What a health check looks at does not work now."""


class BadMessage(RejectedError):
    """A record that is not an event of this region.

    Parameters
    ----------
    reason
        A word for headers and metrics, e.g. `unknown-type`.
    text
        The explanation, without the record's content.
    """

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason
