"""`region secrets` and `region certificates`."""

from pathlib import Path
from typing import Annotated

import typer

from imaging_common.pki import BadRequest
from imaging_operate.cli import app
from imaging_operate.secrets import create_secrets, renew_certificates
from imaging_operate.topology import DOORS

Folder = Annotated[Path, typer.Option(help="Where the secrets lie; only its owner may enter it.")]
Hospitals = Annotated[
    list[str] | None, typer.Option("--hospital", help="Id of a hospital with an edge agent; repeatable.")
]
Hosts = Annotated[
    list[str] | None,
    typer.Option("--door-host", help="A further name under which edge agents reach the doors; repeatable."),
]


@app.command()
def secrets(
    folder: Folder,
    hospital: Hospitals = None,
    organisation: Annotated[
        list[str] | None, typer.Option(help="Id of an organisation with an EHR; repeatable.")
    ] = None,
    door_host: Hosts = None,
    demo: Annotated[bool, typer.Option(help="Passwords for the people of the demonstration, too.")] = False,
    mongodb: Annotated[str, typer.Option(help="host:port of MongoDB as services reach it, comma-separated.")] = (
        "mongodb:27017"
    ),
    replica_set: Annotated[str, typer.Option(help="The name of MongoDB's replica set.")] = "rs0",
) -> None:
    """Make every secret of a region that does not exist yet."""
    hosts = dict.fromkeys(("kafka", *DOORS), door_host or [])
    try:
        create_secrets(
            folder,
            hospital or [],
            organisation or [],
            demo=demo,
            mongodb=mongodb,
            replica_set=replica_set,
            hosts=hosts,
        )
    except (OSError, BadRequest) as error:
        _fail(error)
    typer.echo(f"secrets are in {folder}; people's passwords in {folder / 'people'}")


@app.command()
def certificates(folder: Folder, hospital: Hospitals = None, door_host: Hosts = None) -> None:
    """Renew the certificates of doors and edge agents that end within a month."""
    try:
        issued = renew_certificates(folder, hospital or [], dict.fromkeys(("kafka", *DOORS), door_host or []))
    except (OSError, BadRequest) as error:
        _fail(error)
    typer.echo(f"issued for {', '.join(issued)}" if issued else "all are good for more than a month")


def _fail(error: Exception) -> None:
    typer.echo(f"{type(error).__name__}: {error}", err=True)
    raise typer.Exit(1) from None
