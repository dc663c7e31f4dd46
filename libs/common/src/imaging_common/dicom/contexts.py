"""What the region's acceptors offer: Verification and every storage SOP class, Explicit VR Little Endian first."""

from functools import cache

from pydicom.uid import AllTransferSyntaxes
from pynetdicom import build_context
from pynetdicom.presentation import AllStoragePresentationContexts, PresentationContext
from pynetdicom.sop_class import Verification

_FIRST = ["1.2.840.10008.1.2.1"]
_LAST = ["1.2.840.10008.1.2", "1.2.840.10008.1.2.2"]
# Deflated ones inflate without a bound in the reader, and JPIP ones carry no pixels (PS3.5 A.5 to A.7)
_NEVER = {"1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.94", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.204"}
_NEVER |= {"1.2.840.10008.1.2.4.205", "1.2.840.10008.1.2.8.1"}
# HTJ2K (PS3.5 A.4.15) for pydicom editions that do not list them
_HTJ2K = [f"1.2.840.10008.1.2.4.{number}" for number in (201, 202, 203)]


def transfer_syntaxes() -> list[str]:
    """The transfer syntaxes in order of preference: an acceptor takes the first of its own that is proposed."""
    known = [str(uid) for uid in AllTransferSyntaxes if not str(uid).startswith("1.2.840.10008.1.2.7")]
    between = [uid for uid in [*known, *_HTJ2K] if uid not in {*_FIRST, *_LAST, *_NEVER}]
    return [*_FIRST, *dict.fromkeys(between), *_LAST]


@cache
def supported_contexts() -> list[PresentationContext]:
    """The presentation contexts of an acceptor; read only, all associations share them."""
    syntaxes = transfer_syntaxes()
    storage = [build_context(context.abstract_syntax, syntaxes) for context in AllStoragePresentationContexts]
    return [build_context(Verification, [*_FIRST, *_LAST]), *storage]
