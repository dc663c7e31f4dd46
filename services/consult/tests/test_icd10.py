"""ICD-10: what somebody types finds the code they mean, fast."""

import time

import pytest

from consult.icd10 import Icd10


@pytest.fixture(scope="module")
def codes() -> Icd10:
    """The committed lists."""
    return Icd10.load()


@pytest.mark.parametrize(
    ("typed", "code"),
    [
        ("R91.1", "R91.1"),
        ("r911", "R91.1"),
        ("孤立性肺结节", "R91.1"),
        ("肺结节", "R91.1"),
        ("glxfjj", "R91.1"),
        ("naogengsi", "I63"),
        ("ngs", "I63"),
        ("pulmonary nodule", "R91.1"),
        ("cerebral infarct", "I63"),
        ("胸痛", "R07.4"),
    ],
)
def test_code_is_among_the_first_answers(codes: Icd10, typed: str, code: str) -> None:
    assert code in [found.code for found in codes.search(typed)][:8]


def test_answers_are_few_named_first_and_quick(codes: Icd10) -> None:
    began = time.perf_counter()
    found = codes.search("pneumonia")
    assert time.perf_counter() - began < 0.5  # measured: 0.02 s
    assert len(found) == 20
    assert found[0].zh
    assert codes.search("  ") == []
    assert codes.search("(((") == []


def test_code_beginning_lists_its_subdivisions_in_order(codes: Icd10) -> None:
    found = [one.code for one in codes.search("i63")]
    assert found[0] == "I63"
    assert set(found) > {"I63.0", "I63.9"}
