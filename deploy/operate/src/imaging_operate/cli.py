"""`region`: the operators' command. Each group of commands is a module that adds itself to `app`."""

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_show_locals=False)


@app.callback()
def region() -> None:
    """Operates a region of the imaging cloud."""


def main() -> None:
    """The console script."""
    app()
