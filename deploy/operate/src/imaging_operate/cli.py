"""`region`: the operators' command. Each group of commands is a module that adds itself to `app`."""

from importlib import import_module

import typer

GROUPS = (
    "setup.command",
    "secrets_command",
    "status",
    "hospitals",
    "studies",
    "retrieving",
    "letters",
    "auditing",
    "backup.command",
    "reconcile.command",
    "rebuild",
)
"""The modules, below `imaging_operate`, that add their commands."""

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_show_locals=False)


@app.callback()
def region() -> None:
    """Operates a region of the imaging cloud."""


def load_groups() -> None:
    """Import the modules that add their commands."""
    for group in GROUPS:
        import_module(f"imaging_operate.{group}")


def main() -> None:
    """The console script."""
    load_groups()
    app()
