"""Identifiers that come from peers, checked before any use."""

import re
from typing import Annotated

from pydantic import StringConstraints

UID_PATTERN = r"^[0-9]+(\.[0-9]+)*$"
HOSPITAL_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$"

Uid = Annotated[str, StringConstraints(pattern=UID_PATTERN, min_length=1, max_length=64)]
"""A DICOM unique identifier as PS3.5 §9.1 writes it; the only form that may become part of a key."""

HospitalId = Annotated[str, StringConstraints(pattern=HOSPITAL_PATTERN)]
"""A hospital's id: lower case, digits and dashes, as it stands in topic names and object keys."""

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


def is_uid(text: str) -> bool:
    """Whether `text` is a valid DICOM UID (PS3.5 §9.1) of at most 64 characters."""
    return len(text) <= 64 and re.fullmatch(UID_PATTERN[1:-1], text) is not None
