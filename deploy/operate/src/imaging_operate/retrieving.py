"""`region retrieve`: asks a hospital for a study's images, and follows them into the cache tier."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import uuid4

import typer
from rich.progress import TaskID

from imaging_common.events import Envelope, Event, RetrieveFailed, RetrieveProgressed, RetrieveRequested
from imaging_common.messaging.publisher import KafkaPublisher
from imaging_common.messaging.tail import Tail
from imaging_operate import servers
from imaging_operate.cli import app
from imaging_operate.console import FAILED, AsJson, OperatingError, State, notes, progress, region, show_json
from imaging_operate.settings import RegionSettings
from imaging_operate.telling import SERVICE

PRIORITY = 5
"""As a prefetch: nobody waits at a screen."""


@app.command()
def retrieve(
    study_uid: str,
    hospital: Annotated[str, typer.Option(help="The holder; needed where several have the study.")] = "",
    seconds: Annotated[float, typer.Option(min=1, help="How long to wait for its end.")] = 600.0,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Bring a study's images from its hospital into the centre's cache tier: exit code 0 when all came, else 1."""
    with region(state) as settings:
        holder = hospital or _holder(settings, study_uid)
        try:
            end = asyncio.run(bring(settings, holder, study_uid, seconds))
        except TimeoutError as error:
            raise OperatingError(
                f"{holder} did not end the retrieval of {study_uid} within {seconds:g} s; it goes on: ask again later"
            ) from error
        whole = isinstance(end, RetrieveProgressed) and end.state == "done" and not end.missing
        if as_json:
            show_json(end.model_dump(mode="json") | {"whole": whole, "hospital": holder})
        elif isinstance(end, RetrieveFailed):
            notes.print(f"{holder}: {end.reason}; {end.instances_done} came, {end.instances_missing} did not")
        else:
            typer.echo(f"{end.instances_done} of {end.instances_total} instances of {study_uid} came from {holder}")
        if not whole:
            raise typer.Exit(FAILED)


async def bring(
    settings: RegionSettings, hospital: str, study_uid: str, seconds: float
) -> RetrieveProgressed | RetrieveFailed:
    """Ask, and return what the hospital's agent said at the end.

    Raises
    ------
    TimeoutError
        It said none within `seconds`.
    """
    retrieval = uuid4().hex
    ended: asyncio.Future[RetrieveProgressed | RetrieveFailed] = asyncio.get_running_loop().create_future()
    with progress() as bar:
        task = bar.add_task(f"from {hospital}", total=None)

        async def follow(event: Event, envelope: Envelope) -> None:
            if not isinstance(event, RetrieveProgressed | RetrieveFailed) or event.retrieval_id != retrieval:
                return
            if isinstance(event, RetrieveProgressed):
                _advance(bar.update, task, event)
            if not ended.done() and (isinstance(event, RetrieveFailed) or event.state in ("done", "cancelled")):
                ended.set_result(event)

        tail = Tail(SERVICE, settings, [f"edge-events-{hospital}"], follow)
        publisher = KafkaPublisher(SERVICE, settings)
        await tail.start()
        try:
            asked = RetrieveRequested(
                retrieval_id=retrieval,
                study_uid=study_uid,
                priority=PRIORITY,
                deadline=datetime.now(UTC) + timedelta(seconds=seconds),
            )
            await publisher.publish(f"edge-commands-{hospital}", asked, study_uid)
            async with asyncio.timeout(seconds):
                return await ended
        finally:
            await tail.stop()
            await publisher.stop()


def _advance(update: Callable[..., None], task: TaskID, event: RetrieveProgressed) -> None:
    update(task, total=event.instances_total or None, completed=event.instances_done)


def _holder(settings: RegionSettings, study_uid: str) -> str:
    with servers.mongo(settings) as client:
        found = [one["holder"] for one in client["index"]["studies"].find({"study_uid": study_uid}, {"holder": 1})]
    if not found:
        raise OperatingError(f"the index has no study {study_uid}; with --hospital its holder is asked all the same")
    if len(found) > 1:
        raise OperatingError(f"{study_uid} lies at {', '.join(sorted(found))}: say which with --hospital")
    return str(found[0])
