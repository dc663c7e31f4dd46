"""`region backup make|list|verify|prune` and `region restore`."""

from collections.abc import Callable
from typing import Annotated

import typer

from imaging_common.audit import Action
from imaging_operate.backup import shelves
from imaging_operate.backup.make import make
from imaging_operate.backup.mongodb import Told
from imaging_operate.backup.prune import prune
from imaging_operate.backup.restore import restore
from imaging_operate.backup.sealing import read_identities
from imaging_operate.backup.shelf import open_shelf
from imaging_operate.cli import app
from imaging_operate.console import FAILED, AsJson, State, notes, region, show_json, show_rows
from imaging_operate.settings import RegionSettings
from imaging_operate.telling import record

commands = typer.Typer(no_args_is_help=True, help="Backups of databases, objects and what Kafka knows.")
app.add_typer(commands, name="backup")

Target = Annotated[str, typer.Argument(help="Folder, or s3://bucket/prefix.")]
Which = Annotated[str, typer.Option("--backup", help="Id of the backup.")]
Recipients = Annotated[str, typer.Option(help="Public age keys (age1…) or a file of them (REGION_BACKUP_RECIPIENTS).")]
Identity = Annotated[str, typer.Option(help="File with the private age key (REGION_BACKUP_IDENTITY).")]


@commands.command("make")
def make_backup(target: Target, recipients: Recipients = "", state: State = None, as_json: AsJson = False) -> None:
    """Save the region; what earlier backups at the same place have is not copied again."""
    with region(state) as settings:
        settings = settings.model_copy(update={"backup_recipients": recipients or settings.backup_recipients})
        shelf = open_shelf(target, settings)
        _note(settings, "export", "region backup make")
        with notes.status("saving") as line:
            made = make(settings, shelf, _on(line.update))
        objects = sum(made.objects.count.values())
        documents = sum(one.documents for one in made.collections)
        if as_json:
            show_json(made.model_dump(mode="json"))
        else:
            typer.echo(f"backup {made.id}: {documents} documents, {objects} objects, {len(made.kafka.records)} topics")


@commands.command("list")
def list_backups(target: Target, state: State = None, as_json: AsJson = False) -> None:
    """The finished backups, oldest first."""
    with region(state) as settings:
        shelf = open_shelf(target, settings)
        rows = []
        for backup in shelves.finished(shelf):
            one = shelves.load(shelf, backup)
            rows.append(
                {
                    "backup": one.id,
                    "documents": sum(c.documents for c in one.collections),
                    "objects": sum(one.objects.count.values()),
                    "bytes": sum(one.objects.bytes.values()),
                    "seconds": round((one.finished_at - one.started_at).total_seconds(), 1),
                    "version": one.version,
                }
            )
        columns = ("backup", "documents", "objects", "bytes", "seconds", "version")
        show_rows(f"Backups in {target}", rows, columns, as_json=as_json)


@commands.command()
def verify(
    target: Target,
    backup: Which = shelves.LAST,
    identity: Identity = "",
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Compare every file with its digest, with --identity every content, too: exit code 1 when something is damaged."""
    with region(state) as settings:
        shelf = open_shelf(target, settings)
        manifest = shelves.load(shelf, backup)
        identities = read_identities(identity) if identity else None
        with notes.status("verifying") as line:
            problems = list(shelves.damaged(shelf, manifest, identities, _on(line.update)))
        if as_json:
            show_json({"backup": manifest.id, "whole": not problems, "problems": problems})
        else:
            typer.echo("\n".join([*problems, f"backup {manifest.id}: {len(problems)} problems"]))
        if problems:
            raise typer.Exit(FAILED)


@commands.command("prune")
def prune_backups(
    target: Target,
    keep: Annotated[int, typer.Option(min=1, help="How many of the newest finished backups stay.")] = 14,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Remove older backups, unfinished ones before the newest, and objects that no backup has any more."""
    with region(state) as settings:
        gone = prune(open_shelf(target, settings), keep)
        if as_json:
            show_json({"backups": gone.backups, "objects": gone.objects})
        else:
            typer.echo(f"{len(gone.backups)} backups and {gone.objects} objects removed")


@app.command("restore")
def restore_backup(
    target: Target,
    backup: Which = shelves.LAST,
    identity: Identity = "",
    into_non_empty: Annotated[bool, typer.Option(help="Drop what the services' databases hold.")] = False,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Put a backup into an empty region, whose services are stopped, and say what cannot be in it."""
    with region(state) as settings:
        settings = settings.model_copy(update={"backup_identity": identity or settings.backup_identity})
        shelf = open_shelf(target, settings)
        manifest = shelves.load(shelf, backup)
        with notes.status("restoring") as line:
            done = restore(settings, shelf, manifest, into_non_empty=into_non_empty, told=_on(line.update))
        _note(settings, "restore", f"region restore {manifest.id}")
        if as_json:
            show_json(done.as_json())
            return
        typer.echo(
            f"backup {done.backup}: {done.documents} documents and {sum(done.objects.values())} objects are back"
        )
        typer.echo("\n".join(done.gap))


def _note(settings: RegionSettings, action: Action, source: str) -> None:
    record(settings, {"action": action, "outcome": "success", "user": settings.who, "source": source, "count": 0})


def _on(update: Callable[[str], None]) -> Told:
    def told(what: str, count: int) -> None:
        update(f"{what}: {count}")

    return told
