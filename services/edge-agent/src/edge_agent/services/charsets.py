"""Character sets of identifiers (PS3.3 C.12.1.1.2): what a peer meant, and what it is answered in."""

from pydicom.charset import convert_encodings
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

UTF8, GB18030, GBK = "ISO_IR 192", "GB18030", "GBK"
TEXT_VRS = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
"""Those that Specific Character Set is for (PS3.5 §6.1.2.3)."""


def declare(identifier: Dataset) -> str:
    """Make a received identifier readable, and return the Specific Character Set of the answers.

    A peer that declares no set but sends bytes beyond ASCII is believed to write UTF-8 if it can be, else GB18030.
    Must be called before any value is read.
    """
    declared = identifier.get("SpecificCharacterSet")
    if not declared:
        values = [raw.value for raw in _texts(identifier) if isinstance(raw.value, bytes)]
        if all(value.isascii() for value in values):
            return UTF8
        declared = UTF8 if all(_is_utf8(value) for value in values) else GB18030
        identifier.SpecificCharacterSet = declared
        implicit, little = identifier.original_encoding
        identifier.set_original_encoding(implicit, little, convert_encodings([declared]))
    terms = [declared] if isinstance(declared, str) else list(declared)
    return next((term for term in terms if term in (GB18030, GBK)), UTF8)


def _texts(dataset: Dataset) -> list[RawDataElement]:
    elements = [dataset.get_item(tag) for tag in dataset.keys()]  # noqa: SIM118  (iterating would decode the values)
    raw = [element for element in elements if isinstance(element, RawDataElement)]
    return [element for element in raw if _vr(element) in TEXT_VRS]


def _vr(element: RawDataElement) -> str:
    if element.VR is not None:
        return str(element.VR)
    return str(dictionary_VR(element.tag)) if dictionary_has_tag(element.tag) else "UN"


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
