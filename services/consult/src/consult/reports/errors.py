"""Errors of a report's outputs: something that is needed is away, and is asked again later."""

from imaging_common.errors import RetryableError


class SourceUnavailable(RetryableError):
    """The gateway, the ingest, the identity provider or the press does not give what is needed now."""
