"""RetryableError
└── DirectoryUnavailable  the identity provider does not say who somebody is
RejectedError
└── AddressTaken          (accounts.py) somebody else has an account with this e-mail address
"""

from imaging_common.errors import RetryableError


class DirectoryUnavailable(RetryableError):
    """The identity provider did not answer a question about people; the text names no person."""
