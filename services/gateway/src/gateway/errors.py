"""What can go wrong at the portal.

ImagingError
├── RetryableError
│   ├── ProviderUnavailable   the OIDC provider does not answer
│   ├── ConsultUnavailable    the consult service does not answer
│   └── HolderAway            the hospital that holds the images cannot give them now
└── RejectedError
    ├── SignInFailed          the provider's answer does not belong to a sign-in that began here
    ├── RegistryConflict      a hospital's entry changed without a new revision
    └── ConsultRefused        the consult service says no
        ├── ConsultNotFound   no such case for this person
        └── ConsultConflict   somebody else was faster
"""

from gateway.retrievals.model import Away
from imaging_common.errors import RejectedError, RetryableError


class ProviderUnavailable(RetryableError):
    """The OIDC provider does not answer in time."""


class ConsultUnavailable(RetryableError):
    """The consult service does not answer in time, or answers with 5xx."""


class HolderAway(RetryableError):
    """Images lie at a hospital that cannot give them now; `away` says why and since when."""

    def __init__(self, away: Away) -> None:
        super().__init__(f"{away.holder} cannot be asked: {away.reason}")
        self.away = away


class SignInFailed(RejectedError):
    """The provider's answer does not belong to a sign-in that began in this browser, or was refused."""


class RegistryConflict(RejectedError):
    """A hospital's entry changed while its revision did not."""


class ConsultRefused(RejectedError):
    """The consult service refuses; `detail` is its explanation, `members` what else its problem document says."""

    def __init__(self, status: int, detail: str, members: dict[str, object] | None = None) -> None:
        super().__init__(f"the consult service answered {status}")
        self.status = status
        self.detail = detail
        self.members = members or {}


class ConsultNotFound(ConsultRefused):
    """There is no such case for this person."""


class ConsultConflict(ConsultRefused):
    """The case has moved on; `members` says to which state and by whom."""
