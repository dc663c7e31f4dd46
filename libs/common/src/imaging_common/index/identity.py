"""Copies of one instance at several holders: which may stand in for which.

A study is (holder, Study Instance UID), an instance (holder, SOP Instance UID). One row is shown per Study Instance UID
with all its holders (`StudyIndex.search_studies`), but their bytes are never mixed: each holder keeps its own header (a
CD imported elsewhere has another patient id), and pixels of another holder may be shown only where the digests of Pixel
Data say that they are the same. Whether the asker may see that holder's study is decided before, by the access rule.
"""

from collections.abc import Iterable

from imaging_common.index.model import InstanceDocument, ListedInstance

NATIVE = frozenset({"1.2.840.10008.1.2", "1.2.840.10008.1.2.1"})
"""Little endian without compression: the same value of Pixel Data. A digest tells nothing across other syntaxes."""
NEARNESS = ("archive", "staging", "cache")
"""Which bytes are taken first: what is not evicted before what may be."""


def may_stand_in(wanted: ListedInstance, other: ListedInstance) -> bool:
    """Whether `other`'s pixels are known to be those of `wanted`; an unknown digest proves nothing."""
    syntaxes = {wanted.transfer_syntax_uid, other.transfer_syntax_uid}
    return (
        other.sop_instance_uid == wanted.sop_instance_uid
        and other.holder != wanted.holder
        and wanted.pixel_sha256 is not None
        and other.pixel_sha256 == wanted.pixel_sha256
        and (other.transfer_syntax_uid == wanted.transfer_syntax_uid or syntaxes <= NATIVE)
    )


def stand_in(wanted: ListedInstance, others: Iterable[ListedInstance]) -> InstanceDocument | None:
    """The copy in the centre whose pixels may be shown when `wanted`'s own holder cannot give them; None without one.

    Only pixels: the header that goes with them is `wanted`'s.
    """
    there = [other for other in others if isinstance(other, InstanceDocument) and may_stand_in(wanted, other)]
    return min(there, key=lambda other: (NEARNESS.index(other.location.bucket), other.holder), default=None)
