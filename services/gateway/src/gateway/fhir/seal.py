"""Patient.id: the resident's id, sealed, so that no address, log or trace holds it (AES-SIV, RFC 5297)."""

import base64
import binascii
import hashlib

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

MAX_BYTES = 24
"""A longer resident id does not fit Patient.id's 64 characters in base 32: such a resident is named by identifier."""


class PatientIds:
    """The same resident has the same id at every copy of the gateway that shares the secret."""

    def __init__(self, secret: str) -> None:
        self._cipher = AESSIV(hashlib.sha256(b"fhir-patient-id " + secret.encode()).digest())

    def seal(self, resident_id: str) -> str | None:
        """Patient.id; None when the resident's id is too long for it."""
        plain = resident_id.encode()
        if not 0 < len(plain) <= MAX_BYTES:
            return None
        return base64.b32encode(self._cipher.encrypt(plain, None)).decode().rstrip("=").lower()

    def open(self, patient_id: str) -> str | None:
        """The resident's id; None: it is no id of ours."""
        padded = patient_id.upper() + "=" * (-len(patient_id) % 8)
        try:
            return self._cipher.decrypt(base64.b32decode(padded), None).decode()
        except (binascii.Error, InvalidTag, ValueError):
            return None
