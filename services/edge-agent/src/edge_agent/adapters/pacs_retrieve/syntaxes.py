"""Presentation contexts for receiving images in the transfer syntax that the PACS keeps them in."""

from collections.abc import Sequence

from pynetdicom import build_context
from pynetdicom.presentation import PresentationContext

_NATIVE = ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"]
# One context each: an acceptor accepts one syntax per context, and must find the one of the file (PS3.8 §9.3.3.2)
_COMPRESSED = [
    "1.2.840.10008.1.2.4.70",  # JPEG lossless, first-order prediction
    "1.2.840.10008.1.2.4.90",  # JPEG 2000 lossless
    "1.2.840.10008.1.2.4.91",  # JPEG 2000
    "1.2.840.10008.1.2.4.50",  # JPEG baseline
    "1.2.840.10008.1.2.4.51",  # JPEG extended
    "1.2.840.10008.1.2.4.80",  # JPEG-LS lossless
    "1.2.840.10008.1.2.4.81",  # JPEG-LS near-lossless
    "1.2.840.10008.1.2.5",  # RLE lossless
    "1.2.840.10008.1.2.4.57",  # JPEG lossless
    "1.2.840.10008.1.2.4.201",  # HTJ2K lossless
    "1.2.840.10008.1.2.4.202",  # HTJ2K lossless RPCL
    "1.2.840.10008.1.2.4.203",  # HTJ2K
    "1.2.840.10008.1.2.4.100",  # MPEG2 Main Profile
    "1.2.840.10008.1.2.4.102",  # MPEG-4 AVC
    "1.2.840.10008.1.2.4.107",  # HEVC
]
_STORAGE = "1.2.840.10008.5.1.4.1.1."
COMMON_STORAGE = tuple(
    _STORAGE + suffix
    for suffix in (
        *("2", "2.1", "4", "4.1", "1", "1.1", "1.1.1", "1.2", "1.2.1", "6.1", "6.2", "3.1", "7", "7.1", "7.2", "7.3"),
        *("7.4", "12.1", "12.1.1", "12.2", "13.1.1", "13.1.3", "20", "30", "128", "128.1", "77.1.1", "77.1.2"),
        *("77.1.4", "77.1.5.1", "77.1.5.4", "77.1.6", "88.11", "88.22", "88.33", "88.59", "88.67", "104.1", "104.3"),
        *("11.1", "66.4", "481.1", "481.2", "481.3", "481.5"),
    )
)
"""Classes to ask for where the PACS did not say which ones it has."""


def storage_contexts(classes: Sequence[str], limit: int) -> list[PresentationContext]:
    """Contexts for these SOP classes, at most `limit`: a native one each, then one per compression, class by class."""
    contexts = [build_context(sop_class, _NATIVE) for sop_class in classes[:limit]]
    for syntax in _COMPRESSED:
        for sop_class in classes:
            if len(contexts) >= limit:
                return contexts
            contexts.append(build_context(sop_class, syntax))
    return contexts
