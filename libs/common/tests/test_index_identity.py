"""Another holder's copy stands in only where the pixel digests are equal."""

from typing import Any

import pytest

from imaging_common.index.identity import may_stand_in, stand_in
from imaging_common.index.model import ListedInstance

IMPLICIT, EXPLICIT, BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"


def instance(
    holder: str, pixels: str | None, bucket: str | None = None, uid: str = "1.2.3", syntax: str = IMPLICIT
) -> ListedInstance:
    location: Any = bucket and {
        "bucket": bucket, "key": "k", "encoding": "original", "offset": 0, "length": 1, "original_length": 1,
    }  # fmt: skip
    return ListedInstance.from_mongo(
        {
            "_id": f"{holder}/1.2/{uid}", "study_uid": "1.2", "series_uid": "1.2.1", "sop_instance_uid": uid,
            "sop_class_uid": "1.2.840.10008.5.1.4.1.1.2", "holder": holder, "transfer_syntax_uid": syntax,
            "sha256": bucket and holder.encode().hex().ljust(64, "0"), "pixel_sha256": pixels, "location": location,
        }
    )  # fmt: skip


@pytest.mark.parametrize(
    ("other", "may"),
    [
        (instance("secondary", "p", "archive"), True),
        (instance("secondary", "q", "archive"), False),
        (instance("secondary", None, "archive"), False),
        (instance("secondary", "p", "archive", uid="1.2.4"), False),
        (instance("tertiary", "p", "archive"), False),
        (instance("secondary", "p", "archive", syntax=EXPLICIT), True),
        (instance("secondary", "p", "archive", syntax=BIG_ENDIAN), False),
    ],
)
def test_copy_stands_in_only_when_uid_and_pixels_are_the_same(other: ListedInstance, may: bool) -> None:
    assert may_stand_in(instance("tertiary", "p"), other) is may


def test_nothing_stands_in_when_no_pixels_were_ever_seen() -> None:
    assert stand_in(instance("tertiary", None), [instance("secondary", None, "archive")]) is None


def test_lasting_copy_goes_before_a_cached_one_and_one_without_bytes_is_none() -> None:
    wanted = instance("tertiary", "p")
    others = [instance("community", "p", "cache"), instance("secondary", "p", "archive"), instance("tcm", "p")]
    found = stand_in(wanted, others)
    assert found is not None
    assert found.holder == "secondary"
    assert stand_in(wanted, [instance("tcm", "p")]) is None
