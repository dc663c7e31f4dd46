"""What the audit service raises beside the shared errors (`imaging_common.errors`).

RetryableError
└── VaultUnavailable   the bucket with the anchors does not answer
"""

from imaging_common.errors import RetryableError


class VaultUnavailable(RetryableError):
    """The bucket with the anchors does not answer."""
