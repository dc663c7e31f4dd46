"""What makes searches flat: places in the list, tokens of names, streams instead of `$or`. Pure rules."""

import re

import pytest

from imaging_common.index.fake import matches
from imaging_common.index.listing import listing_of, place_of, places_of_days
from imaging_common.index.names import name_pattern, name_tokens, parse_person_name, query_tokens
from imaging_common.index.streams import in_order, places, split


def test_places_are_in_the_order_of_dates_and_times() -> None:
    order = [("", ""), ("20251231", "235959.9"), ("20260101", ""), ("20260101", "07"), ("20260101", "0930")]
    found = [place_of(date, time, "1.2.3") for date, time in order]
    assert found == sorted(found)
    assert len(set(found)) == len(found)
    assert 0 < found[0] < found[-1] < 2**63


@pytest.mark.parametrize(
    ("first", "last", "inside"),
    [("20260101", "20260101", [2, 3]), ("20260101", "", [2, 3, 4]), ("", "20260101", [0, 1, 2, 3]), ("", "", range(5))],
)
def test_range_of_days_is_a_range_of_places(first: str, last: str, inside: list[int]) -> None:
    days = [("", ""), ("20251231", "235959.9"), ("20260101", ""), ("20260101", "235959.999"), ("20260102", "")]
    bounds = places_of_days(first, last)
    found = [n for n, day in enumerate(days) if matches({"place": place_of(*day, "1.2")}, {"place": bounds})]
    assert found == list(inside)


def test_study_has_no_place_while_it_is_not_listed() -> None:
    study = {"study_uid": "1.2", "study_date": "20260101", "study_time": "", "instance_count": 1}
    assert listing_of(study)["place"] == place_of("20260101", "", "1.2")
    for hidden in ({"instance_count": 0}, {"withdrawn": True}, {"deleted": True}):
        assert listing_of(study | hidden)["place"] is None


NAMES = [
    "Wang^Xiaodong=王^小东",
    "王小东",
    "Ouyang^Na=欧阳^娜",
    "Smith^John Paul",
    "单^田芳",
    "Li^Na=李^娜=",
    "van der Berg^Jan",
]
QUERIES = [
    *(
        "王",
        "王小",
        "王小东",
        "小东",
        "*东",
        "王*东",
        "王小东*",
        "wang",
        "wang xiao",
        "wangxiaod",
        "WANG^XIAODONG",
        "w*",
        "l",
    ),
    *("xiaodong", "xiao dong", "Wa?g*", "Wang^*", "smith john", "paul", "shan", "na", "Li^*", "der berg", "berg jan"),
]


@pytest.mark.parametrize("fuzzy", [False, True])
def test_whatever_a_query_matches_has_its_token(fuzzy: bool) -> None:
    hits = 0
    for name in NAMES:
        forms = parse_person_name(name).search
        tokens = name_tokens(forms)
        for query in QUERIES:
            wanted = query_tokens(query, fuzzy=fuzzy)
            if any(re.search(name_pattern(query, fuzzy=fuzzy), form) for form in forms):
                hits += 1
                assert not wanted or set(wanted) & set(tokens), (name, query)
    assert hits > 10


def test_access_and_alternatives_become_streams_without_or() -> None:
    visible = {"$or": [{"holder": "a"}, {"_id": {"$in": ["b/1"]}}]}
    words = {"$and": [{"$or": [{"tokens": "wang"}, {"accession": "wang"}]}, {"modalities": "CT"}]}
    assert split(visible, words) == [
        {"holder": "a", "tokens": "wang", "modalities": "CT"},
        {"holder": "a", "accession": "wang", "modalities": "CT"},
        {"_id": {"$in": ["b/1"]}, "tokens": "wang", "modalities": "CT"},
        {"_id": {"$in": ["b/1"]}, "accession": "wang", "modalities": "CT"},
    ]
    assert split({"$or": [{"holder": "a"}, {"_id": {"$in": []}}]}) == [{"holder": "a"}]
    assert split({"holder": "a"}, {"holder": "b"}) == [{"holder": "a", "$and": [{"holder": "b"}]}]


def test_dates_of_a_search_bound_its_places() -> None:
    where = {"$and": [{"study_date": {"$ne": "", "$gte": "20260101", "$lte": "20260131"}}]}
    assert places(where)["place"] == places_of_days("20260101", "20260131")
    assert places({"study_date": {"$gte": "20260101"}})["place"]["$gt"] == places_of_days("20260101", "")["$gt"]
    assert places({}) == {"place": {"$gt": 0}}


def test_streams_are_merged_in_their_order() -> None:
    assert in_order([[{"place": 9}, {"place": 4}], [{"place": 7}]], (("place", -1),)) == [
        {"place": 9}, {"place": 7}, {"place": 4},
    ]  # fmt: skip
