"""What can be wrong with a message.

RejectedError
└── UnreadableMessage   it cannot be taken as it is; its text names the field, never the patient
"""

from typing import Literal

from imaging_common.errors import RejectedError


class UnreadableMessage(RejectedError):
    """The message cannot be taken as it is.

    Attributes
    ----------
    code
        HL7 v2 table 0008: `AR` the kind of message is not taken here, `AE` its content is wrong.
    reason
        A word to count it by.
    """

    def __init__(self, reason: str, text: str, code: Literal["AE", "AR"] = "AE") -> None:
        super().__init__(text)
        self.reason = reason
        self.text = text
        self.code = code
