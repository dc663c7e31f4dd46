"""The documents say what is: links lead somewhere, tables are those of `schemas/` and of the rights that are given."""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest
import typer.main

from imaging_common.contracts.topics import TopicContract, load_topics
from imaging_common.messaging.permissions import SERVICES, Acl
from imaging_operate.cli import app, load_groups
from imaging_operate.topology import DATABASES, READ_DATABASES, kafka_plan

ROOT = Path(__file__).parents[2]
FOLDERS = ("docs", "services", "deploy", "bench")
DOCUMENTS = sorted(
    path.relative_to(ROOT)
    for path in [*ROOT.glob("*.md"), *(found for folder in FOLDERS for found in (ROOT / folder).rglob("*.md"))]
    if "node_modules" not in path.parts
)
TOPICS = load_topics(ROOT / "schemas" / "topics")
DAY_MS = 24 * 3600 * 1000
KNOWN = {"edge-agent", *SERVICES, *(topic.name for topic in TOPICS)}
"""What a diagram may name in code-like words: services and topics."""
DASHED = re.compile(r"(?<![\w<>/.:-])[a-z]+(?:-(?:[a-z]+|<[a-z]+>))+(?![\w<>-])")

Row = tuple[str, ...]


def text_of(document: Path) -> str:
    return (ROOT / document).read_text("utf-8")


def outside_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))


@cache
def anchors(path: Path) -> frozenset[str]:
    """The anchors of a document, as its readers make them of headings."""
    body = re.sub(r"^```.*?^```", "", path.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#{1,6} +(.+?) *#*$", body, flags=re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).replace(" ", "-") for heading in headings)
    return frozenset(plain)


def links(document: Path) -> Iterator[tuple[str, str]]:
    """(path, anchor) of every relative link and picture."""
    for target in re.findall(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"", outside_code(text_of(document))):
        address = target[0] or target[1]
        if not re.match(r"[a-z]+:", address):
            path, _, anchor = address.partition("#")
            yield path, anchor


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_link_leads_somewhere_when_it_is_relative(document: Path) -> None:
    wrong = []
    for path, anchor in links(document):
        target = ((ROOT / document).parent / path) if path else ROOT / document
        if not target.exists():
            wrong.append(f"{path} is not there")
        elif anchor and anchor not in anchors(target):
            wrong.append(f"{path or document} has no heading #{anchor}")
    assert wrong == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_make_target_exists_when_a_document_names_it(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(re.findall(r"`make ([a-z][a-z-]*)", text_of(document)))
    named |= set(re.findall(r"^make ([a-z][a-z-]*)", text_of(document), flags=re.MULTILINE))
    assert named <= targets


@cache
def operators_commands() -> frozenset[str]:
    """`status`, `backup make`, …: all of the operators' command."""
    load_groups()
    top = getattr(typer.main.get_command(app), "commands", {})
    return frozenset(
        f"{name} {below}".strip() for name, command in top.items() for below in getattr(command, "commands", [""])
    )


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_operators_command_exists_when_a_document_names_it(document: Path) -> None:
    known = operators_commands()
    groups = {command.split()[0] for command in known if " " in command}
    named = set()
    for first, second in re.findall(r"`region ([a-z]+)(?: ([a-z]+))?", text_of(document)):
        named.add(f"{first} {second}".strip() if first in groups else first)
    assert named - groups <= known


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_diagram_names_services_and_topics_that_exist(document: Path) -> None:
    blocks = re.findall(r"^```mermaid\n(.*?)^```", text_of(document), flags=re.MULTILINE | re.DOTALL)
    assert {name for block in blocks for name in DASHED.findall(block)} <= KNOWN


def table(rows: Iterable[Row]) -> str:
    head, *body = rows
    lines = [head, tuple("---" for _ in head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "–"


def topics_table() -> str:
    def row(topic: TopicContract) -> Row:
        kept = f"{topic.retention_ms // DAY_MS} days" if topic.cleanup_policy == "delete" else "compacted"
        writers = code(topic.producers) if topic.producers != ["*"] else "all"
        consults = [event for event in topic.events if event.startswith("Consult")]
        events = [event for event in topic.events if event not in consults]
        told = f"`Consult…`, one per transition ({len(consults)})" if consults else code(events)
        personal = "yes" if topic.personal_data else "no"
        return f"`{topic.name}`", told, writers, code(topic.consumers), kept, personal

    return table([("topic", "events", "written by", "read by", "kept", "personal data"), *map(row, TOPICS)])


def rights_table() -> str:
    """Who may do what at Kafka, dead letter topics apart: as `region setup` gives it."""
    _, acls = kafka_plan(["<hospital>"], ["<organisation>"])

    def names(acls: Iterable[Acl], operation: str) -> str:
        found = [acl.name for acl in acls if acl.resource == "topic" and acl.operation == operation]
        return code(sorted(name for name in found if "-dlq-" not in name))

    rows: list[Row] = [("Kafka user", "may write", "may read", "groups")]
    for principal in [*SERVICES, "edge-<hospital>", "ehr-<organisation>"]:
        own = [acl for acl in acls if acl.principal == principal]
        groups = [acl.name + ("*" if acl.prefix else "") for acl in own if acl.resource == "group"]
        rows.append((f"`{principal}`", names(own, "WRITE"), names(own, "READ"), code(groups)))
    return table(rows)


def databases_table() -> str:
    rows: list[Row] = [("MongoDB user", "reads and writes", "reads")]
    for service, own in DATABASES.items():
        rows.append((f"`{service}`", f"`{own}`", code(READ_DATABASES.get(service, ()))))
    return table(rows)


@pytest.mark.parametrize(
    ("document", "name", "make"),
    [
        ("docs/architecture.md", "topics", topics_table),
        ("docs/security.md", "kafka-rights", rights_table),
        ("docs/security.md", "databases", databases_table),
    ],
)
def test_table_is_what_the_code_does(document: str, name: str, make: Callable[[], str]) -> None:
    text = text_of(Path(document))
    found = re.search(f"<!-- table:{name} -->\n(.*?)\n<!-- end -->", text, flags=re.DOTALL)
    assert found, f"{document} has no table between <!-- table:{name} --> and <!-- end -->"
    expected = make()
    assert found[1] == expected, f"put this table into {document}:\n{expected}"


def test_decision_is_in_the_map_of_documents() -> None:
    listed = set(re.findall(r"decisions/([\w-]+\.md)", text_of(Path("docs/README.md"))))
    assert listed == {path.name for path in (ROOT / "docs" / "decisions").glob("*.md")}


def test_alert_is_in_the_operating_guide() -> None:
    listed = set(re.findall(r"\(alerts/(\w+\.md)\)", text_of(Path("docs/operating.md"))))
    assert listed == {path.name for path in (ROOT / "docs" / "alerts").glob("*.md")}


def test_picture_is_small_and_shown() -> None:
    shown = {(ROOT / document).parent / path for document in DOCUMENTS for path, _ in links(document)}
    for picture in (ROOT / "docs" / "pictures").glob("*.png"):
        assert picture.stat().st_size < 200_000, f"{picture.name} is larger than 200 kB"
        assert picture in shown, f"no document shows {picture.name}"
