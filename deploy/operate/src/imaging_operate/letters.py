"""`region replay`: sends dead letters back to the topic they came from."""

import asyncio
from typing import Annotated

import typer

from imaging_common.messaging.replay import replay as send_back
from imaging_common.messaging.topics import source_topic
from imaging_operate import lag, servers
from imaging_operate.cli import app
from imaging_operate.console import AsJson, OperatingError, State, progress, region, show_json


@app.command()
def replay(
    topic: Annotated[str, typer.Argument(help="<topic>-dlq-<service>; `region status` lists those that wait.")],
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many.")] = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Send a dead letter topic back to its source; what was replayed before is not sent again."""
    with region(state) as settings:
        try:
            source = source_topic(topic)
            waiting = {one.topic: one.waiting for one in lag.dead_letters(servers.kafka(settings))}.get(topic, 0)
            with progress() as bar:
                task = bar.add_task("replayed", total=min(waiting, limit or waiting))
                count = asyncio.run(
                    send_back(settings, topic, limit, told=lambda done: bar.update(task, completed=done))
                )
        except ValueError as error:
            raise OperatingError(str(error)) from error
        if as_json:
            show_json({"topic": topic, "source": source, "replayed": count})
        else:
            typer.echo(f"{count} replayed to {source}")
