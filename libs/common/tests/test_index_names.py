"""Names are found however they are typed."""

import re

import pytest

from imaging_common.index.names import fold, name_pattern, parse_person_name

WANG = "Wang^Xiaodong=王^小东"


def finds(name: str, query: str, *, fuzzy: bool = False) -> bool:
    pattern = name_pattern(query, fuzzy=fuzzy)
    return any(re.search(pattern, form) for form in parse_person_name(name).search)


@pytest.mark.parametrize(
    "query",
    ["王小东", "王^小东", "wang xiaodong", "wangxiaodong", "Wang^XiaoDong", "WANG XIAO DONG", "Wang*", "王*", "*小东",
     "王?东", "Ｗａｎｇ　Ｘｉａｏｄｏｎｇ"],
)  # fmt: skip
@pytest.mark.parametrize("name", [WANG, "王小东", "王^小东", "=王^小东"])
def test_name_is_found_by_every_spelling(name: str, query: str) -> None:
    assert finds(name, query)
    assert finds(name, query, fuzzy=True)


@pytest.mark.parametrize("query", ["xiaodong", "小东", "xiao dong", "wang", "王"])
def test_part_of_a_name_finds_only_when_fuzzy(query: str) -> None:
    assert finds(WANG, query, fuzzy=True)
    assert not finds(WANG, query)


@pytest.mark.parametrize("query", ["王小", "li", ".*", "wang$", "(", "dong^wang", "[a-z]"])
def test_name_is_not_found_by_something_else(query: str) -> None:
    assert not finds(WANG, query)


def test_surname_reading_is_the_one_of_surnames() -> None:
    assert finds("单^田芳", "shan tianfang")
    assert finds("欧阳娜娜", "ouyang nana")
    assert finds("吕^丽", "lv li")
    assert finds("吕^丽", "lyu li")


def test_groups_are_kept_as_they_were_written() -> None:
    name = parse_person_name("Yamada^Tarou=山田^太郎=やまだ^たろう")
    assert (name.alphabetic, name.ideographic, name.phonetic) == ("Yamada^Tarou", "山田^太郎", "やまだ^たろう")
    assert fold("やまだ") in "".join(name.search)
    assert parse_person_name({"Alphabetic": "Müller^Jörg"}).search == ["muller jorg", "mullerjorg"]
    assert parse_person_name(None).search == []
