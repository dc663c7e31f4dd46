"""What can go wrong at the portal.

ImagingError
├── RetryableError
│   ├── ProviderUnavailable   the OIDC provider does not answer
│   ├── ConsultUnavailable    the consult service does not answer
│   ├── SystemsUnavailable    the notification service does not answer
│   ├── AuditUnavailable      the audit service does not answer, or refuses the auditor's token
│   ├── IngestUnavailable     the ingest does not answer
│   ├── OnboardingFailed      a server did not do its part of an onboarding
│   └── HolderAway            the hospital that holds the images cannot give them now
└── RejectedError
    ├── SignInFailed          the provider's answer does not belong to a sign-in that began here
    ├── LaunchRefused         a launch code, a share link or a SMART launch that opens nothing
    ├── RegistryConflict      a hospital's entry changed without a new revision
    ├── IngestRefused         the ingest takes nothing of a store request
    ├── SystemsRefused        the notification service says no
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


class SystemsUnavailable(RetryableError):
    """The notification service does not answer in time, or answers with 5xx."""


class AuditUnavailable(RetryableError):
    """The audit service does not answer in time, or refuses the token."""


class IngestUnavailable(RetryableError):
    """The ingest does not answer in time, or answers with 5xx."""


class OnboardingFailed(RetryableError):
    """A server did not do its part of an onboarding; the step can be tried again. The text says what it answered."""


class HolderAway(RetryableError):
    """Images lie at a hospital that cannot give them now; `away` says why and since when."""

    def __init__(self, away: Away) -> None:
        super().__init__(f"{away.holder} cannot be asked: {away.reason}")
        self.away = away


class SignInFailed(RejectedError):
    """The provider's answer does not belong to a sign-in that began in this browser, or was refused."""


class LaunchRefused(RejectedError):
    """A launch code, a share link or a SMART launch opens nothing; `status` is the answer's, `reason` a word."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"the window does not open: {reason}")
        self.status = status
        self.reason = reason


class RegistryConflict(RejectedError):
    """A hospital's entry changed while its revision did not."""


class IngestRefused(RejectedError):
    """The ingest takes nothing of a store request; `status` is its answer."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the ingest answered {status}")
        self.status = status


class SystemsRefused(RejectedError):
    """The notification service refuses; `detail` is its explanation, `members` what else its problem document says."""

    def __init__(self, status: int, detail: str, members: dict[str, object] | None = None) -> None:
        super().__init__(f"the notification service answered {status}")
        self.status = status
        self.detail = detail
        self.members = members or {}


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
