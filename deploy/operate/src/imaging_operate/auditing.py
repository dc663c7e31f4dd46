"""`region audit verify`: the audit service's own walk over its chains, with the operator's connection."""

import os
import subprocess
import sys
from importlib.util import find_spec

import typer

from imaging_operate.cli import app
from imaging_operate.console import AsJson, OperatingError, State, region, show_json
from imaging_operate.settings import RegionSettings

commands = typer.Typer(no_args_is_help=True, help="The record of who saw and did what.")
app.add_typer(commands, name="audit")
WALK = "audit"
"""The package whose `verify` walks: the service alone knows how its chains are made."""


@commands.command()
def verify(state: State = None, as_json: AsJson = False) -> None:
    """Walk every audit chain and compare it with its anchors: exit code 0 all hold, 1 one is broken, 2 not checked."""
    with region(state) as settings:
        if find_spec(WALK) is None:
            raise OperatingError(
                f"the package `{WALK}` is not installed here: run `python -m audit.verify` where the service runs"
            )
        done = subprocess.run(
            [sys.executable, "-m", f"{WALK}.verify"],
            env=os.environ | variables(settings),
            check=False,
            capture_output=True,
            text=True,
        )
        lines = done.stdout.splitlines()
        if as_json:
            show_json({"holds": done.returncode == 0, "checked": done.returncode in (0, 1), "lines": lines})
        else:
            typer.echo(done.stdout, nl=False)
        typer.echo(done.stderr, nl=False, err=True)
        raise typer.Exit(done.returncode)


def variables(settings: RegionSettings) -> dict[str, str]:
    """The audit service's settings that lead to this region's record and anchors."""
    return {
        "AUDIT_MONGO_URL": settings.mongo_url,
        "AUDIT_MINIO_ENDPOINT": settings.minio_endpoint,
        "AUDIT_MINIO_ACCESS_KEY": settings.minio_access_key,
        "AUDIT_MINIO_SECRET_KEY": settings.minio_secret_key.get_secret_value(),
        "AUDIT_MINIO_SECURE": str(settings.minio_secure).lower(),
    }
