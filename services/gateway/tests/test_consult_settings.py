"""Operators' pages of consults: what they show, keep, and say when somebody else was faster."""

import re
from typing import Any

from gateway.consult_desk.settings import read_experts, read_policy, read_rows
from gateway.web.consult_plots import counts, turnaround
from imaging_common.auth import Claims

OPERATOR = "operator.region"
LOCAL = Claims("operator.community", "community", frozenset({"hospital-operator"}), "吴运维")
ROW = {"name": "神经夜间", "subspecialty": "neuro", "hospital": "secondary"}
FIGURES = [
    {"key": "secondary", "name": "", "count": 4, "issued": 3, "overdue": 1, "median_hours": 2.0, "p90_hours": 8.0},
    {"key": "tertiary", "name": "=x", "count": 1, "issued": 0, "overdue": 0, "median_hours": None, "p90_hours": None},
]


def test_rows_experts_and_policies_are_read_from_forms() -> None:
    form = {name: ["", ""] for name in ("level", "subspecialty", "modality", "body_part", "urgency", "department")}
    rows = read_rows({**form, "name": ["a", ""], "hospital": ["x", "y"], "expert": ["", ""]})
    assert [(row["name"], row["hospital"]) for row in rows] == [("a", "x")]
    experts = read_experts({"n": ["1", "2"], "user-1": ["u"], "duty-1": ["0-day", "6-night"], "user-2": [""]})
    assert [(one["user"], one["duty"], one["subspecialties"]) for one in experts] == [("u", ["0-day", "6-night"], [])]
    policy = read_policy({"urgent-secondary-accept": ["30"], "urgent-secondary-report": ["-1"]}, ("routine", "urgent"))
    assert policy["limits"] == {"urgent": {"secondary": {"accept": 30}}}


async def test_table_is_kept_on_its_revision_and_tried(world: Any) -> None:
    world.desk.parts = {
        "routing": {"revision": 3, "rows": [ROW]},
        "routing/try": {
            "row": "神经夜间", "chosen": {"consultant_hospital": "secondary"},
            "why": [{"row": "神经夜间", "fits": True}],
        },
    }  # fmt: skip
    browser = await world.signed_in(OPERATOR)
    page = (await browser.get("/portal/routing")).text
    assert 'value="神经夜间"' in page
    columns = ("level", "subspecialty", "modality", "body_part", "urgency", "department", "expert")
    form = {**dict.fromkeys(columns, ""), "csrf": world.csrf(OPERATOR), "name": "胸部", "hospital": "secondary"}
    assert 'data-testid="message">Saved' in (await browser.post("/portal/routing", data={**form, "revision": "3"})).text
    assert world.desk.parts["routing"]["rows"][0]["name"] == "胸部"
    late = await browser.post("/portal/routing", data={**form, "revision": "3", "name": "我的"})
    assert late.status_code == 409
    assert 'value="我的"' in late.text
    tried = await browser.post("/portal/routing/try", data={"csrf": world.csrf(OPERATOR), "try_subspecialty": "neuro"})
    assert "Row: 神经夜间" in tried.text


async def test_hospital_operator_sets_only_their_own_hospital(world: Any) -> None:
    world.provider.people[LOCAL.user] = LOCAL
    world.desk.parts = {"policies/community": {"revision": 1}, "policies/secondary": {"revision": 1}}
    browser = await world.signed_in(LOCAL.user)
    assert (await browser.get("/portal/routing")).status_code == 403
    assert (await browser.get("/portal/policies")).status_code == 200
    assert (await browser.get("/portal/policies", params={"hospital": "secondary"})).status_code == 404
    form = {"csrf": world.csrf(LOCAL.user), "revision": "1", "second_reader": "always", "hospital": "secondary"}
    assert (await browser.post("/portal/policies", data=form)).status_code == 404
    assert (await browser.post("/portal/policies", data={**form, "hospital": "community"})).status_code == 200
    assert world.desk.parts["policies/community"]["second_reader"] == "always"
    assert (await (await world.signed_in()).get("/portal/experts")).status_code == 403


async def test_statistics_are_shown_plotted_and_downloaded(world: Any) -> None:
    world.desk.parts = {"statistics": {"rows": FIGURES}}
    browser = await world.signed_in(OPERATOR)
    page = (await browser.get("/portal/statistics", params={"by": "hospital"})).text
    assert page.count("<svg class=") == 2
    assert re.search(r"2\.0 h / 8\.0 h", page)
    download = await browser.get("/portal/statistics/export", params={"by": "hospital"})
    assert download.headers["content-disposition"].startswith("attachment")
    assert download.text.splitlines()[1] == "secondary,,4,3,1,2.0,8.0"
    assert "'=x" in download.text
    world.desk.parts = {}
    assert 'data-testid="not-known"' in (await browser.get("/portal/statistics")).text


def test_plots_share_one_scale() -> None:
    spans = turnaround(FIGURES, {})
    assert spans is not None
    assert [(span.median, span.p90) for span in spans.spans] == [(84.0, 336.0)]
    assert spans.spans[0].text == "2.0 h / 8.0 h"
    columns = counts(FIGURES, {"tertiary": "三级医院" * 9})
    assert columns is not None
    assert columns.columns[1].label == "三级医院" * 4 + "…"
    assert [(column.height, column.over) for column in columns.columns] == [(140.0, 35.0), (35.0, 0.0)]
    assert (turnaround([], {}), counts([], {})) == (None, None)
