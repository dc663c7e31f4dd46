"""What commands share: where the region is, tables or JSON on standard output, errors as one line and an exit code."""

import contextlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from confluent_kafka import KafkaException
from minio.error import MinioException
from pymongo.errors import PyMongoError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from urllib3.exceptions import HTTPError

from imaging_common.errors import ImagingError
from imaging_operate.settings import RegionSettings, load

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
State = Annotated[
    Path | None,
    typer.Option("--state", envvar="REGION_STATE", help="File of a local region (make run REGION_STATE=file)."),
]
FAILED, WRONG_USE = 1, 2
notes = Console(stderr=True, highlight=False)
"""Progress and remarks: standard output keeps to the answer."""


class OperatingError(Exception):
    """The command cannot do it; the text says what happened, to which object, and what to do."""


@contextlib.contextmanager
def region(state: Path | None) -> Iterator[RegionSettings]:
    """The region's settings; whatever a server answers badly ends the command with one line and exit code 1."""
    try:
        settings = load(state)
    except (OSError, ValueError) as error:
        notes.print(str(error), style="red", markup=False, soft_wrap=True)
        raise typer.Exit(WRONG_USE) from error
    try:
        yield settings
    except OperatingError as error:
        _end(str(error), error)
    except PyMongoError as error:
        _end(f"MongoDB: {error}", error)
    except KafkaException as error:
        _end(f"Kafka at {settings.kafka_bootstrap}: {error.args[0].str()}", error)
    except (MinioException, HTTPError) as error:
        _end(f"the object store at {settings.minio_endpoint}: {error}", error)
    except (ImagingError, OSError, TimeoutError) as error:
        _end(f"{type(error).__name__}: {error}", error)


def _end(text: str, error: BaseException) -> None:
    notes.print(text, style="red", markup=False, soft_wrap=True)
    raise typer.Exit(FAILED) from error


def show_json(value: Any) -> None:
    """One JSON document."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2, default=str) + "\n")


def show_rows(title: str, rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool) -> None:
    """Rows as a table of these columns, or all they hold as JSON."""
    if as_json:
        show_json(list(rows))
        return
    table = Table(*(name.replace("_", " ") for name in columns), title=title, title_justify="left")
    for row in rows:
        table.add_row(*("" if row.get(name) is None else str(row.get(name)) for name in columns))
    Console(highlight=False, width=None if sys.stdout.isatty() else 160).print(table)


def progress() -> Progress:
    """A progress bar on standard error; none where that is no terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=notes,
        disable=not notes.is_terminal,
    )
