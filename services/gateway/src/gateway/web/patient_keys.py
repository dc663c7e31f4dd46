"""How an address names a person without saying who it is: encrypted, authenticated, and good in one session only.

AES-SIV (RFC 5297) is deterministic, so that a page's address stays the same while the session lasts.
"""

import base64
import hashlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from gateway.model import Session
from gateway.web.present import StudyView

MAX_KEY = 512


@dataclass(frozen=True, slots=True)
class PatientRef:
    """A resident, or a patient as one hospital knows them."""

    resident_id: str = ""
    patient_key: str = ""
    """`<hospital>^<patient id>`."""


class PatientKeys:
    """Writes and reads such names; all copies with the same secret understand each other."""

    def __init__(self, secret: str) -> None:
        self._box = AESSIV(hashlib.sha512(b"patients:" + secret.encode()).digest())

    def of_study(self, session: Session, study: StudyView) -> str:
        """The person of a study; empty where nobody knows an id."""
        if study.resident_id:
            return self.write(session, PatientRef(resident_id=study.resident_id))
        return self.write(session, PatientRef(patient_key=study.patient_key)) if study.patient_key else ""

    def write(self, session: Session, ref: PatientRef) -> str:
        """The name of a person in this session's addresses."""
        text = f"r{ref.resident_id}" if ref.resident_id else f"p{ref.patient_key}"
        sealed = self._box.encrypt(text.encode(), [session.key.encode()])
        return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()

    def read(self, session: Session, key: str) -> PatientRef | None:
        """Whom the address names; None: nobody, or it is another session's."""
        if not key.isascii() or len(key) > MAX_KEY:
            return None
        try:
            sealed = base64.urlsafe_b64decode(key + "=" * (-len(key) % 4))
            text = self._box.decrypt(sealed, [session.key.encode()]).decode()
        except (ValueError, InvalidTag):
            return None
        return PatientRef(resident_id=text[1:]) if text[0] == "r" else PatientRef(patient_key=text[1:])
