"""The same header as a PACS and as the centre write it is the same; a changed value is not."""

from typing import Any

import pytest

from indexer.headers import agree, header_digest

CENTRE: dict[str, Any] = {
    "00020010": {"vr": "UI", "Value": ["1.2.840.10008.1.2.1"]},
    "00080005": {"vr": "CS", "Value": ["ISO_IR 192"]},
    "00080030": {"vr": "TM", "Value": ["101500.000000"]},
    "00090010": {"vr": "LO", "Value": ["PRIVATE"]},
    "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Wang^Xiaodong", "Ideographic": "王^小东"}]},
    "00181151": {"vr": "IS", "Value": [120]},
    "00280030": {"vr": "DS", "Value": [0.5, 0.5]},
    "00281050": {"vr": "DS", "Value": [40.0]},
    "00409096": {"vr": "SQ", "Value": [{"00409225": {"vr": "FD", "Value": [0.1]}}]},
    "7FE00010": {"vr": "OW", "BulkDataURI": "bulkdata://1.2/7FE00010"},
}
PACS: dict[str, Any] = {
    "00080005": {"vr": "CS", "Value": ["GB18030"]},
    "00080030": {"vr": "TM", "Value": ["101500"]},
    "00081190": {"vr": "UR", "Value": ["http://pacs/"]},
    "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Wang^Xiaodong^^", "Ideographic": "王^小东 "}]},
    "00100040": {"vr": "CS"},
    "00181151": {"vr": "IS", "Value": ["120"]},
    "00280030": {"vr": "DS", "Value": ["0.50", "0.5"]},
    "00281050": {"vr": "DS", "Value": ["40"]},
    "00409096": {"vr": "SQ", "Value": [{"00409225": {"vr": "FD", "Value": [0.10000000149]}}]},
}


def test_header_is_the_same_when_a_pacs_writes_it_otherwise() -> None:
    assert header_digest(CENTRE) == header_digest(PACS)
    assert agree(CENTRE, PACS)


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        ("00100010", {"Alphabetic": "Wang^Xiaodong", "Ideographic": "王^晓东"}),
        ("00281050", "41"),
        ("00409096", {"00409225": {"vr": "FD", "Value": [0.2]}}),
    ],
)
def test_header_differs_when_a_value_does(tag: str, value: Any) -> None:
    changed = {**PACS, tag: {"vr": PACS[tag]["vr"], "Value": [value]}}
    assert not agree(CENTRE, changed)
    assert header_digest(CENTRE) != header_digest(changed)


def test_missing_attribute_is_no_contradiction() -> None:
    assert agree({**CENTRE, "00104000": {"vr": "LT", "Value": ["x"]}}, PACS)


def test_garbled_text_is_left_out_when_only_ascii_counts() -> None:
    garbled = {**PACS, "00100010": {"vr": "PN", "Value": ["Íõ^Ð¡¶«"]}}
    assert agree(CENTRE, garbled, ascii_only=True)
    assert not agree(CENTRE, {**garbled, "00281050": {"vr": "DS", "Value": ["41"]}}, ascii_only=True)
