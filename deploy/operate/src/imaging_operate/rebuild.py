"""`region index rebuild`: an empty index under a new epoch, and everybody says again what belongs into it."""

from typing import Annotated, Any

import typer

from imaging_common.events import AnnounceRequested, Event
from imaging_operate import lag, servers
from imaging_operate.cli import app
from imaging_operate.console import AsJson, OperatingError, State, region, show_json
from imaging_operate.epochs import raise_index_epoch
from imaging_operate.reconcile.look_index import every_order
from imaging_operate.reconcile.mend import orders
from imaging_operate.servers import Mongo
from imaging_operate.settings import RegionSettings
from imaging_operate.telling import record, tell
from imaging_operate.topology import DATABASES

commands = typer.Typer(no_args_is_help=True, help="The region's index.")
app.add_typer(commands, name="index")

SERVICE = "indexer"
DATABASE = DATABASES[SERVICE]
KEPT = frozenset({"meta", "hospitals", "links", "merges", "report_matches"})
"""Collections that are statements of others and not derived from what lies in the object store."""


@commands.command()
def rebuild(
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without it only what would be done is said.")] = False,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Empty the index and raise its epoch; the indexer, stopped now and started afterwards, builds it again.

    It comes from the manifests and catalogues in the object store, from what Kafka keeps (links and registrations
    whole), from reports in the archive, and from the hospitals, which announce again. Until it is there studies are
    missing from lists; nothing is deleted anywhere else.
    """
    with region(state) as settings, servers.mongo(settings) as client:
        studies = client[DATABASE]["studies"].estimated_document_count()
        if not yes:
            raise OperatingError(f"this empties the index of {studies} studies: stop the indexer, then type --yes")
        epoch = empty(settings, client)
        said = tell(settings, _messages(settings, client))
        if as_json:
            show_json({"epoch": epoch, "studies_before": studies, "said": said})
            return
        typer.echo(f"epoch {epoch}: start the indexer now; {studies} studies were in the index")
        typer.echo("`region reconcile --dry-run` says what is still missing")


def empty(settings: RegionSettings, client: Mongo) -> int:
    """Drop what is derived, raise the epoch, and let the indexer read its topics from their beginning; the new epoch.

    Raises
    ------
    OperatingError
        The indexer runs.
    """
    admin = servers.kafka(settings)
    if SERVICE in lag.groups(admin):
        state, members = lag.members(admin, [SERVICE])[SERVICE]
        if members:
            raise OperatingError(f"the indexer runs ({members} readers, {state}): stop all its copies first")
    record(
        settings,
        {"action": "restore", "outcome": "success", "user": settings.who, "source": "region index rebuild", "count": 0},
    )
    database = client[DATABASE]
    epoch = raise_index_epoch(client)
    for name in database.list_collection_names():
        if name not in KEPT and not name.startswith("system."):
            database.drop_collection(name)
    if SERVICE in lag.groups(admin):
        places = lag.committed(admin, SERVICE)
        lag.set_committed(admin, SERVICE, lag.edges(admin, places, last=False))
    return epoch


def _messages(settings: RegionSettings, client: Mongo) -> list[tuple[str, Event, str]]:
    """The hospitals announce again; the store keeper's deletions and holds are ordered again."""
    hospitals: list[dict[str, Any]] = list(client["gateway"]["hospitals"].find({"level": {"$ne": "outside"}}))
    todo: list[tuple[str, Event, str]] = [
        (f"edge-commands-{one['_id']}", AnnounceRequested(user=settings.who), "") for one in hospitals
    ]
    for one in every_order(client):
        todo.extend(orders(one, settings.who))
    return todo
