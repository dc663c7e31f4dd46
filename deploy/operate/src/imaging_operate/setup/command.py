"""`region setup`."""

import asyncio

import typer
from pydantic import ValidationError

from imaging_operate.cli import app
from imaging_operate.setup.run import SetupFailed, run_setup
from imaging_operate.setup.settings import SetupSettings


@app.command()
def setup() -> None:
    """Make topics, permissions, users, buckets and the realm at running servers (settings: SETUP_…); may run again."""
    try:
        asyncio.run(run_setup(SetupSettings(), typer.echo))
    except ValidationError as error:
        wrong = ", ".join(f"SETUP_{'.'.join(map(str, one['loc'])).upper()}: {one['msg']}" for one in error.errors())
        typer.echo(f"settings that cannot be read: {wrong}", err=True)
        raise typer.Exit(2) from None
    except SetupFailed as error:
        typer.echo(f"not set up: {error}", err=True)
        raise typer.Exit(1) from None
