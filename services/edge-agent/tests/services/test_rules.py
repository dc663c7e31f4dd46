"""Rules of the services AE without I/O: patient ids, peers, character sets."""

from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataset import Dataset

from edge_agent.services.charsets import declare
from edge_agent.services.coercion import Coercion, Owner, owner_of, qualified
from edge_agent.services.peers import parse_peers

HERE = Coercion("community", "REGION")
IDS = st.text(st.characters(codec="gb18030", exclude_characters="\\", exclude_categories=["Cc", "Cs"]), max_size=64)


@given(IDS, IDS, st.sampled_from(["secondary", "tertiary", "a" * 32]), st.sampled_from(["secondary", "tertiary"]))
def test_made_ids_are_different_for_different_patients_and_fit(one: str, other: str, here: str, there: str) -> None:
    first, second = qualified(here, one, "1.1"), qualified(there, other, "1.2")
    assert len(first) <= 64
    assert first == qualified(here, one, "1.1")
    assert (first == second) == (here == there and one == other != "")


def test_own_patient_keeps_the_id_and_a_linked_one_gets_it() -> None:
    assert HERE.patient_id(Owner("community", "1001", "")) == "1001"
    assert HERE.patient_id(Owner("secondary", "1001", "")) == "secondary:1001"
    assert HERE.patient_id(Owner("secondary", "77", "", linked_id="1001")) == "1001"


def test_original_id_is_kept_once_however_often_it_is_coerced() -> None:
    dataset, owner = Dataset(), Owner("secondary", "1001", "HIS")
    for _ in range(2):
        HERE.apply(dataset, owner)
    assert [(i.PatientID, i.IssuerOfPatientID) for i in dataset.OtherPatientIDsSequence] == [("1001", "HIS")]
    untouched = Dataset()
    HERE.apply(untouched, Owner("community", "1001", ""))
    assert len(untouched) == 0


def test_row_without_holder_belongs_to_nobody() -> None:
    row = {"00100020": {"vr": "LO", "Value": ["1001"]}}
    assert owner_of(row, "community") is None
    assert owner_of(row, "community", asked_own=True) == Owner("community", "1001", "")


@pytest.mark.parametrize(("charset", "answered"), [("utf-8", "ISO_IR 192"), ("gb18030", "GB18030")])
def test_text_without_a_declared_character_set_is_read_as_what_it_can_be(charset: str, answered: str) -> None:
    name = "王*".encode(charset)
    name += b" " * (len(name) % 2)
    raw = b"\x10\x00\x10\x00" + len(name).to_bytes(4, "little") + name
    identifier = dcmread(BytesIO(raw), force=True)
    assert declare(identifier) == answered
    assert str(identifier.PatientName).strip() == "王*"


def test_peers_are_read_and_bad_ones_refused() -> None:
    assert parse_peers(" WS@127.0.0.1:104, B@[::1]:11112,") == {
        "WS": ("WS", "127.0.0.1", 104),
        "B": ("B", "::1", 11112),
    }
    for bad in ("WS", "WS@host", "@host:1", "WS@host:x"):
        with pytest.raises(ValueError, match="is not AE@host:port"):
            parse_peers(bad)
