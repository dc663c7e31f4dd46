"""Why an instance is refused.

RejectedError
└── RejectedInstance    the file breaks a rule of the gate; `reason_code` says which
"""

from imaging_common.errors import RejectedError


class RejectedInstance(RejectedError):
    """The gate refuses an instance.

    Parameters
    ----------
    reason_code
        A word of lower case and dashes, for metrics, journals and answers: `truncated`, `not-dicom`, …
    text
        One sentence for people, without values of the data set.
    """

    def __init__(self, reason_code: str, text: str) -> None:
        super().__init__(f"{reason_code}: {text}")
        self.reason_code = reason_code
        self.text = text
