"""Errors of the edge agent.

RetryableError
├── CentreUnavailable   the centre did not take a batch; it is sent again
├── PacsUnreachable     the PACS does not answer, or broke off
├── PacsRefused         the PACS answers, but with a refusal
├── RegionUnavailable   the gateway does not answer a workstation's question, or broke off
├── RetrieveFolderFull  no room for retrieved files now
└── SpoolUnusable       the spool is full or its disk does not work: 0xA700 to the sender
RejectedError
├── IdentifierRefused   a workstation's question cannot be understood: 0xA900
├── RegionRefused       the gateway refuses a workstation's question
└── BatchRefused        the centre can never take this batch as it is
"""

from imaging_common.errors import RejectedError, RetryableError


class CentreUnavailable(RetryableError):
    """The centre did not take a batch; nothing is known of it, it is sent again."""


class SpoolUnusable(RetryableError):
    """The spool is full or its disk does not work."""


class PacsUnreachable(RetryableError):
    """The PACS does not answer in time, or ended the connection; `connected`: there was one, so it may be the input."""

    def __init__(self, text: str, *, connected: bool = False) -> None:
        super().__init__(text)
        self.connected = connected


class PacsRefused(RetryableError):
    """The PACS refuses an association or an operation; it may give a part of it later."""


class RetrieveFolderFull(RetryableError):
    """There is no room for a retrieved file; `broken`: it is the disk, and not our own files that are going."""

    def __init__(self, text: str, *, broken: bool = False) -> None:
        super().__init__(text)
        self.broken = broken


class BatchRefused(RejectedError):
    """The centre refuses a request as such (HTTP 4xx); which instance is at fault shows when each goes alone."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the centre answered {status} to a batch")
        self.status = status


class RegionUnavailable(RetryableError):
    """The gateway does not answer a workstation's question, or broke off."""


class RegionRefused(RejectedError):
    """The gateway refuses a workstation's question (HTTP 4xx)."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the gateway answered {status}")
        self.status = status


class IdentifierRefused(RejectedError):
    """A workstation's question cannot be understood (0xA900); the text says why, without a value."""


class ReportRefused(RejectedError):
    """The centre refuses a report; `reason` is its explanation, without the patient."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"the centre answered {status} to a report")
        self.reason = detail or str(status)
