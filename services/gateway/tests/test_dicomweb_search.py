"""A search by QIDO-RS and its audit record: side by side, but no answer without the record."""

import asyncio
from typing import Any

import pytest

from imaging_common.errors import PublishFailed
from imaging_common.events import Event

PROGRAM = {"Authorization": "Bearer bearer-doctor.community", "Accept": "application/dicom+json"}


@pytest.mark.parametrize("path", ["/dicomweb/studies", "/dicomweb/series", "/dicomweb/studies?PatientID=nobody"])
async def test_search_is_refused_when_its_record_cannot_be_written(world: Any, path: str) -> None:
    world.add_study()
    browser = world.browser(**PROGRAM)
    assert (await browser.get(path)).status_code in (200, 204)
    world.publisher.fail_with = PublishFailed("nobody takes it")
    answer = await browser.get(path)
    assert answer.status_code == 503
    assert "P-001" not in answer.text
    assert "1.2.3" not in answer.text


async def test_nothing_of_an_answer_is_sent_before_its_record_is_durable(world: Any) -> None:
    world.add_study()
    sent: list[str] = []
    durable = asyncio.Event()
    publish = world.publisher.publish

    async def slowly(topic: str, event: Event, key: str, **more: Any) -> None:
        await durable.wait()
        await publish(topic, event, key, **more)

    world.publisher.publish = slowly  # type: ignore[method-assign]
    scope = {
        "type": "http", "method": "GET", "path": "/dicomweb/studies", "raw_path": b"/dicomweb/studies",
        "root_path": "", "query_string": b"", "scheme": "http", "http_version": "1.1", "server": ("portal.test", 80),
        "client": ("127.0.0.1", 1), "headers": [(k.lower().encode(), v.encode()) for k, v in PROGRAM.items()],
    }  # fmt: skip

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    answering = asyncio.ensure_future(world.app(scope, receive, send))
    for _ in range(50):
        await asyncio.sleep(0)
    assert (sent, world.audited) == ([], [])
    durable.set()
    await asyncio.wait_for(answering, 5)
    assert sent[0] == "http.response.start"
    assert [(record.action, record.count) for record in world.audited] == [("search", 1)]


async def test_how_many_more_there_are_is_not_counted(world: Any) -> None:
    for number in range(5):
        world.add_study(f"1.2.{number}", study_time=f"10{number:02}")
    browser = world.browser(**PROGRAM)
    told = {}
    for limit in (3, 4, 5):
        answer = await browser.get("/dicomweb/studies", params={"limit": limit})
        assert len(answer.json()) == limit
        told[limit] = answer.headers.get("warning", "").partition("There are ")[2].partition(" additional")[0]
    assert told == {3: "more than 1", 4: "1", 5: ""}
