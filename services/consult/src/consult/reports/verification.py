"""Verification codes: printed on a report, typed or scanned by who holds it, unguessable for who does not."""

import re
import secrets

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base32: no I, L, O, U, which are misread or misspelt."""
GROUPS, GROUP = 4, 5
"""Four groups of five: 100 bits."""
_MISREAD = str.maketrans({"I": "1", "L": "1", "O": "0"})
_CODE = re.compile(f"[{ALPHABET}]{{{GROUPS * GROUP}}}")
MAX_TYPED = 64


def new_code() -> str:
    """A new code, e.g. `7K3QF-0ZB9M-…`."""
    return _printed("".join(secrets.choice(ALPHABET) for _ in range(GROUPS * GROUP)))


def read_code(typed: str) -> str:
    """The code as it is kept, of what somebody typed: case, dashes, spaces and misread letters do not matter.

    Empty when it cannot be one.
    """
    if len(typed) > MAX_TYPED:
        return ""
    plain = re.sub(r"[\s-]", "", typed).upper().translate(_MISREAD)
    return _printed(plain) if _CODE.fullmatch(plain) else ""


def _printed(plain: str) -> str:
    return "-".join(plain[at : at + GROUP] for at in range(0, len(plain), GROUP))
