"""`region reconcile`: names what is missing, has it mended, and says what stays lost."""

import time
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from minio import Minio

from imaging_common.events import AnnounceRequested
from imaging_operate import servers
from imaging_operate.cli import app
from imaging_operate.console import FAILED, AsJson, State, notes, region, show_json, show_rows
from imaging_operate.reconcile import look_index
from imaging_operate.reconcile.look import confirmed, look
from imaging_operate.reconcile.mend import messages
from imaging_operate.reconcile.model import Finding
from imaging_operate.servers import Mongo
from imaging_operate.settings import RegionSettings
from imaging_operate.telling import record, tell

COLUMNS = ("kind", "holder", "study_uid", "what", "remedy")
AGAIN_SECONDS = 2.0


@app.command()
def reconcile(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only name what is missing.")] = False,
    announce: Annotated[
        bool, typer.Option("--announce", help="Ask every hospital to announce all its studies again.")
    ] = False,
    seconds: Annotated[float, typer.Option("--wait", min=0, help="How long to wait for what is fetched.")] = 120.0,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Compare announcements, index, archive and events: exit code 0 nothing is missing (any more), 1 something is."""
    with region(state) as settings, servers.mongo(settings) as client:
        store = servers.minio(settings)
        with notes.status("looking") as line:
            found = confirmed(client, store, lambda kind, count: line.update(f"looking: {kind}, {count} found"))
        said, left = 0, found
        if not dry_run:
            said = _mend(settings, client, store, found, announce=announce)
            left = wait_until_mended(client, store, found, seconds) if found else []
        if as_json:
            show_json({"found": _rows(found), "said": said, "missing": _rows(left)})
        else:
            _print(found, left, dry_run=dry_run, said=said)
        if left:
            raise typer.Exit(FAILED)


def _mend(settings: RegionSettings, client: Mongo, store: Minio, found: Sequence[Finding], *, announce: bool) -> int:
    """Say what is to be done; how many messages that were."""
    told = {
        (one.holder, one.study_uid): version
        for one in found
        if one.study_uid and (version := look_index.newest_told(client, one.holder, one.study_uid))
    }
    todo = list(messages(found, settings.who, store, told))
    if announce:
        hospitals = [one["_id"] for one in client["gateway"]["edges"].find({}, {"_id": 1})]
        todo += [(f"edge-commands-{hospital}", AnnounceRequested(user=settings.who), "") for hospital in hospitals]
    if todo:
        record(
            settings,
            {
                "action": "restore",
                "outcome": "success",
                "user": settings.who,
                "count": len(todo),
                "source": "region reconcile",
            },
        )
    return tell(settings, todo)


def wait_until_mended(client: Mongo, store: Minio, found: Sequence[Finding], seconds: float) -> list[Finding]:
    """What is still missing of `found` after at most so many seconds."""
    wanted = {(one.holder, one.study_uid) for one in found}
    deadline = time.monotonic() + seconds
    while True:
        left = [one for one in look(client, store) if (one.holder, one.study_uid) in wanted]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(AGAIN_SECONDS)


def _rows(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    return [one.row() for one in findings]


def _print(found: Sequence[Finding], left: Sequence[Finding], *, dry_run: bool, said: int) -> None:
    if not found:
        typer.echo("nothing is missing")
        return
    show_rows("Missing", _rows(found), COLUMNS, as_json=False)
    if dry_run:
        typer.echo(f"{len(found)} findings; without --dry-run they are mended")
        return
    if not left:
        typer.echo(f"{len(found)} findings, {said} messages: all is there again")
        return
    show_rows("Still missing", _rows(left), COLUMNS, as_json=False)
    for one in left:
        for entry in one.wanted:
            typer.echo(f"not back: instance {entry.sop_instance_uid} of study {one.study_uid} of {one.holder}")
