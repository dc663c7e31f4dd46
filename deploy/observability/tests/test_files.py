"""Rules and dashboards name metrics that exist, every alert has its page, every panel its unit. Without promtool."""

import ast
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

HERE = Path(__file__).parents[1]
ROOT = HERE.parents[1]
ALERT_PAGES = ROOT / "docs" / "alerts"
SUFFIXES = {"Counter": ["_total"], "CounterMetricFamily": ["_total"], "Histogram": ["_bucket", "_count", "_sum"]}
NAME = re.compile(r"\b(?:imaging|kube|minio|process)_[a-z0-9_]+|\bup\b")
SEVERITIES = {"critical", "warning"}
PARTS = ("What it means.", "What users see.", "How to look.", "What to do.", "When it is over.")


@cache
def calls() -> list[tuple[str, ast.Call]]:
    """The calls in all services' and libraries' code that make a metric, with the name of what is called."""
    kinds = ("Counter", "Gauge", "Histogram", "CounterMetricFamily", "GaugeMetricFamily")
    return [
        (node.func.id, node)
        for source in [*ROOT.glob("libs/*/src/**/*.py"), *ROOT.glob("services/*/src/**/*.py")]
        if "prometheus_client" in (text := source.read_text())
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in kinds
    ]


@cache
def metrics_in_code() -> frozenset[str]:
    """The names under which the services' metrics are scraped."""
    found: set[str] = set()
    for kind, call in calls():
        first = call.args[0] if call.args else None
        if isinstance(first, ast.Constant) and str(first.value).startswith("imaging_"):
            name = str(first.value).removesuffix("_total")
            found |= {name + suffix for suffix in SUFFIXES.get(kind, [""])}
    return frozenset(found)


@cache
def external_metrics() -> set[str]:
    """Those of servers and of the Prometheus client itself."""
    lines = (HERE / "external-metrics.txt").read_text().splitlines()
    return {line for line in lines if line and not line.startswith("#")}


def rules() -> list[dict[str, Any]]:
    files = sorted((HERE / "rules").glob("*.yml"))
    return [rule for file in files for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]


ALERTS = [rule for rule in rules() if "alert" in rule]
RECORDED = {rule["record"] for rule in rules() if "record" in rule}
DASHBOARDS = sorted((HERE / "grafana" / "dashboards").glob("*.json"))


def panels(dashboard: Path) -> Iterator[dict[str, Any]]:
    yield from json.loads(dashboard.read_text())["panels"]


def names_in(expression: str) -> set[str]:
    """Metrics an expression names; what stands in a selector's value, in brackets of `by` or is recorded is none."""
    for record in sorted(RECORDED, key=len, reverse=True):
        expression = expression.replace(record, "")
    return set(NAME.findall(re.sub(r'"[^"]*"', "", expression)))


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("alert") or f"{rule['record']}-{rule['labels']}")
def test_metrics_of_a_rule_exist(rule: dict[str, Any]) -> None:
    assert names_in(rule["expr"]) <= metrics_in_code() | external_metrics()


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)
def test_dashboard_names_metrics_that_exist_and_every_panel_has_a_unit(dashboard: Path) -> None:
    known = metrics_in_code() | external_metrics()
    for panel in panels(dashboard):
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["targets"], panel["title"]
        for target in panel["targets"]:
            assert names_in(target["expr"]) <= known, panel["title"]
    told = json.loads(dashboard.read_text())
    assert told["uid"] == dashboard.stem
    assert len({panel["id"] for panel in told["panels"]}) == len(told["panels"])


def test_every_metric_of_the_services_is_on_a_dashboard() -> None:
    shown = {
        name
        for board in DASHBOARDS
        for panel in panels(board)
        for t in panel["targets"]
        for name in names_in(t["expr"])
    }
    shown |= {name for rule in rules() for name in names_in(rule["expr"])}
    bare = {re.sub(r"_(bucket|count|sum)$", "", name) for name in shown}
    assert {re.sub(r"_(bucket|count|sum)$", "", name) for name in metrics_in_code()} <= bare


@pytest.mark.parametrize("alert", ALERTS, ids=lambda rule: str(rule["alert"]))
def test_alert_has_a_severity_and_a_page_that_says_what_to_do(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in SEVERITIES
    page = f"docs/alerts/{alert['alert']}.md"
    assert alert["annotations"]["runbook"] == page
    assert alert["annotations"]["summary"]
    text = (ROOT / page).read_text()
    assert all(f"**{part}**" in text for part in PARTS)
    assert f"Severity: **{alert['labels']['severity']}**" in text


def test_every_page_belongs_to_an_alert_and_links_lead_somewhere() -> None:
    assert {page.stem for page in ALERT_PAGES.glob("*.md")} == {rule["alert"] for rule in ALERTS}
    for page in ALERT_PAGES.glob("*.md"):
        for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_alert_is_tested_to_fire_and_to_stay_silent() -> None:
    tests = yaml.safe_load((HERE / "rules" / "tests" / "alerts.yml").read_text())["tests"]
    titles = {test["name"] for test in tests}
    assert titles >= {f"{rule['alert']} {does}" for rule in ALERTS for does in ("fires", "is silent")}


def test_every_service_is_scraped_under_its_name() -> None:
    jobs = {job["job_name"] for job in yaml.safe_load((HERE / "prometheus.yml").read_text())["scrape_configs"]}
    assert {folder.name for folder in (ROOT / "services").iterdir() if (folder / "pyproject.toml").exists()} <= jobs


def test_traces_pass_every_processor_and_end_in_the_store() -> None:
    told = yaml.safe_load((HERE / "otel-collector.yaml").read_text())
    pipeline = told["service"]["pipelines"]["traces"]
    assert set(pipeline["processors"]) == set(told["processors"])
    assert set(pipeline["exporters"]) == set(told["exporters"])


@pytest.mark.parametrize("word", ["patient", "study_uid", "user", "person", "accession"])
def test_no_metric_has_a_label_of_a_person_or_a_study(word: str) -> None:
    for kind, call in calls():
        labels = [*call.args[2:], *(one.value for one in call.keywords if one.arg in ("labels", "labelnames"))]
        assert not any(word in ast.unparse(label) for label in labels), f"{kind} {ast.unparse(call.args[0])}"
