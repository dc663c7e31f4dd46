"""The rules without I/O."""

import pytest

from edge_agent.model import AllowList, QuietTimer, SpooledInstance, State, Usage, take_batch


def waiting(*lengths: int, uids: str = "") -> list[SpooledInstance]:
    names = uids.split(",") if uids else [f"1.{n}" for n in range(len(lengths))]
    return [
        SpooledInstance(n, "1.2", uid, f"{n:064d}", length)
        for n, (uid, length) in enumerate(zip(names, lengths, strict=True), start=1)
    ]


def numbers(batch: list[SpooledInstance]) -> list[int]:
    return [instance.number for instance in batch]


@pytest.mark.parametrize(
    ("rules", "ae_title", "address", "allowed"),
    [
        ("CT1@10.0.0.5", "CT1", "10.0.0.5", True),
        ("CT1@10.0.0.5", "CT1", "10.0.0.6", False),
        ("CT1@10.0.0.5", "CT2", "10.0.0.5", False),
        ("CT1@10.0.0.5", "", "10.0.0.5", True),
        ("CT1@10.0.0.5", "", "10.0.0.6", False),
        ("*@10.0.0.5,CT2@*", "CT9", "10.0.0.5", True),
        ("*@10.0.0.5, CT2@*", "CT2", "10.0.0.9", True),
        ("", "CT1", "10.0.0.5", False),
        ("CT1", "CT1", "10.0.0.5", False),
    ],
)
def test_allow_list_decides_by_title_and_address(rules: str, ae_title: str, address: str, allowed: bool) -> None:
    assert AllowList(rules).allows(ae_title, address) is allowed


def test_first_batch_is_small_and_later_ones_fill_up() -> None:
    some = waiting(*[10] * 20)
    options = {"first_instances": 8, "batch_bytes": 125}
    assert numbers(take_batch(some, first=True, alone=set(), **options)) == list(range(1, 9))
    assert numbers(take_batch(some, first=False, alone=set(), **options)) == list(range(1, 13))


def test_batch_holds_one_instance_when_that_is_larger_than_the_bound() -> None:
    options = {"first": False, "first_instances": 8, "batch_bytes": 50, "alone": set()}
    assert numbers(take_batch(waiting(80, 10), **options)) == [1]
    assert numbers(take_batch(waiting(10, 80), **options)) == [1]
    assert take_batch([], **options) == []


def test_batch_ends_when_a_uid_comes_again_or_an_instance_goes_alone() -> None:
    options = {"first": False, "first_instances": 8, "batch_bytes": 1000}
    assert numbers(take_batch(waiting(1, 1, 1, uids="1.1,1.2,1.1"), alone=set(), **options)) == [1, 2]
    assert numbers(take_batch(waiting(1, 1, 1), alone={1, 2}, **options)) == [1]
    assert numbers(take_batch(waiting(1, 1, 1), alone={2}, **options)) == [1]


def test_study_is_quiet_when_nothing_changed_for_a_while() -> None:
    timer = QuietTimer(10)
    assert timer.quiet({"a": 1, "b": 5}, 100) == []
    assert timer.quiet({"a": 2, "b": 5}, 105) == []
    assert timer.quiet({"a": 2, "b": 5}, 110) == ["b"]
    assert timer.quiet({"a": 2}, 115) == ["a"]
    assert timer.quiet({"b": 6}, 120) == []


def test_ring_makes_way_when_the_spool_needs_the_room() -> None:
    def usage(received: int, stored: int) -> Usage:
        counts = dict.fromkeys(State, 0)
        return Usage(counts, counts | {State.RECEIVED: received, State.STORED: stored})

    assert usage(0, 50).ring_excess(100, 1000) == 0
    assert usage(0, 150).ring_excess(100, 1000) == 50
    assert usage(950, 80).ring_excess(100, 1000) == 30
    assert usage(1200, 80).ring_excess(100, 1000) == 80
