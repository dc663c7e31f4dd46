"""A whole PACS is listed, however few matches it gives at once and however it hides that."""

import random
from datetime import datetime

import pytest

from edge_agent.adapters.pacs.fake import FakePacs
from edge_agent.pacs_model import NightWindow
from edge_agent.usecases.list_studies import StudyLister

DAYS = ["20200229", "20211231", "20220101", "20251124", "00010101", "99991231"]


def crowded_pacs(seed: int) -> FakePacs:
    """Many studies on few days and in few instants, some without a date or a time, and a silent limit."""
    dice = random.Random(seed)
    pacs = FakePacs(cuts_at=dice.randint(10, 60), matches_uids=seed % 2 == 0)
    days = dice.sample(DAYS, dice.randint(1, len(DAYS))) + [""] * (seed % 3)
    prefixes = dice.sample(["A", "b", "00", "9-", "病", "P.1 "], dice.randint(1, 6))
    for n in range(dice.randint(0, 400)):
        times = ["101500", "", "000000", f"{dice.randint(0, 23):02d}{dice.randint(0, 59):02d}07.123"]
        pacs.put(
            f"1.2.{seed}.{n}",
            date=dice.choice(days),
            time=dice.choice(times if seed % 5 else times[:1]),
            patient_id=dice.choice(prefixes) + str(dice.randint(0, 9999)),
        )
    items = list(pacs.contents.items())
    dice.shuffle(items)
    pacs.contents = dict(items)
    return pacs


@pytest.mark.parametrize("seed", range(60))
async def test_every_study_is_listed_when_the_pacs_cuts_answers_off_silently(seed: int) -> None:
    pacs = crowded_pacs(seed)
    lister = StudyLister(pacs, limit=50)
    await lister.list_all()
    assert set(lister.studies) == set(pacs.contents)
    assert lister.complete


async def test_dated_studies_are_listed_without_the_thorough_search() -> None:
    pacs = FakePacs(cuts_at=10)
    for n in range(300):
        pacs.put(f"1.2.{n}", date=f"20{n % 25 + 1:02d}01{n % 28 + 1:02d}", time=f"{n % 24:02d}0000")
    lister = StudyLister(pacs, limit=200)
    await lister.list_all(thorough=False)
    assert set(lister.studies) == set(pacs.contents)
    assert pacs.questions < 150


async def test_one_question_and_its_proof_are_enough_when_the_pacs_is_small() -> None:
    pacs = FakePacs()
    for n in range(40):
        pacs.put(f"1.2.{n}", date=f"202501{n % 28 + 1:02d}")
    lister = StudyLister(pacs, limit=200)
    await lister.list_all()
    assert len(lister.studies) == 40
    assert pacs.questions == 3


async def test_listing_says_that_it_is_incomplete_when_an_answer_cannot_be_cut() -> None:
    pacs = FakePacs(cuts_at=5, says_so=True, matches_uids=False)
    for n in range(20):
        pacs.put(f"1.2.{n}", date="20250101", time="101500", patient_id="0")
    lister = StudyLister(pacs, limit=200)
    await lister.list_all()
    assert not lister.complete


@pytest.mark.parametrize(
    ("window", "hour", "is_open"),
    [
        ("00:00-24:00", 12, True),
        ("22:00-06:00", 23, True),
        ("22:00-06:00", 5, True),
        ("22:00-06:00", 6, False),
        ("22:00-06:00", 12, False),
        ("01:30-05:00", 1, False),
        ("01:30-05:00", 4, True),
        ("20:00-24:00", 23, True),
    ],
)
def test_night_window_is_open_within_its_hours(window: str, hour: int, is_open: bool) -> None:
    assert NightWindow.parse(window).is_open(datetime(2026, 11, 24, hour, 0)) is is_open


@pytest.mark.parametrize("text", ["", "22:00", "25:00-06:00"])
def test_night_window_is_refused_when_it_is_not_written_right(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  (each part has its own text)
        NightWindow.parse(text)
