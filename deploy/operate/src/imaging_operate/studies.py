"""`region studies list` and `show`: what the index knows, and where each instance lies. No names unless asked for."""

from typing import Annotated, Any

import typer

from imaging_operate import servers
from imaging_operate.cli import app
from imaging_operate.console import AsJson, OperatingError, State, region, show_json, show_rows
from imaging_operate.servers import Mongo
from imaging_operate.settings import RegionSettings
from imaging_operate.telling import record

commands = typer.Typer(no_args_is_help=True, help="Studies of the index, and where they lie.")
app.add_typer(commands, name="studies")

FACTS = (
    "study_uid", "holder", "tier", "study_date", "modalities", "instance_count", "online_count", "stored_count",
    "announced_count", "settled", "deleted", "withdrawn", "held", "report_count",
)  # fmt: skip
COLUMNS = ("study_uid", "holder", "tier", "date", "modalities", "instances", "here", "archived", "state")
WHERE = ("bucket", "key", "instances", "bytes")
Names = Annotated[bool, typer.Option("--names", help="Show patients' names and ids; that is audited.")]


@commands.command("list")
def list_studies(
    hospital: Annotated[str, typer.Option(help="Only this holder's.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, the last changed first.")] = 50,
    names: Names = False,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Studies, the last changed first."""
    with region(state) as settings, servers.mongo(settings) as client:
        where = {"holder": hospital} if hospital else {}
        found = list(client["index"]["studies"].find(where).sort("updated_at", -1).limit(limit))
        _audit(settings, names, len(found), None, hospital or None)
        rows = [_row(one, names=names) for one in found]
        show_rows("Studies", rows, _columns(names), as_json=as_json)


@commands.command()
def show(study_uid: str, names: Names = False, state: State = None, as_json: AsJson = False) -> None:
    """One study at every holder: its state, and where its instances lie."""
    with region(state) as settings, servers.mongo(settings) as client:
        found = list(client["index"]["studies"].find({"study_uid": study_uid}).sort("holder", 1))
        if not found:
            raise OperatingError(f"the index has no study {study_uid}: `region reconcile --dry-run` says what it lacks")
        _audit(settings, names, len(found), study_uid, None)
        rows = [{**_row(one, names=names), "lies_in": lying(client, one["_id"])} for one in found]
        if as_json:
            show_json(rows)
            return
        show_rows("Study", rows, _columns(names), as_json=False)
        for row in rows:
            show_rows(f"Where {row['holder']}'s instances lie", row["lies_in"], WHERE, as_json=False)


def lying(client: Mongo, study_key: str) -> list[dict[str, Any]]:
    """Per object: how many of a study's instances lie in it; bucket `holder`: at the hospital only."""
    group = {
        "_id": {"bucket": "$location.bucket", "key": "$location.key"},
        "instances": {"$sum": 1},
        "bytes": {"$sum": "$location.length"},
    }
    found = client["index"]["instances"].aggregate(
        [{"$match": {"study_key": study_key}}, {"$group": group}, {"$sort": {"_id": 1}}]
    )
    return [
        {
            "bucket": one["_id"].get("bucket") or "holder",
            "key": one["_id"].get("key"),
            "instances": one["instances"],
            "bytes": one["bytes"],
        }
        for one in found
    ]


def _row(study: dict[str, Any], *, names: bool) -> dict[str, Any]:
    row = {name: study.get(name) for name in FACTS}
    said = [word for word in ("settled", "deleted", "withdrawn", "held") if study.get(word)]
    row |= {
        "date": study.get("study_date"),
        "instances": study.get("instance_count"),
        "here": study.get("online_count"),
        "archived": study.get("stored_count"),
        "state": " ".join(said) or "arriving",
        "version": "{epoch}.{n}".format(**study["version"]),
    }
    if names:
        patient = study.get("patient", {})
        row |= {"patient_id": patient.get("id"), "name": (patient.get("name") or {}).get("alphabetic")}
    return row


def _columns(names: bool) -> tuple[str, ...]:
    return (*COLUMNS, "patient_id", "name") if names else COLUMNS


def _audit(settings: RegionSettings, names: bool, count: int, study_uid: str | None, holder: str | None) -> None:
    if names:
        record(
            settings,
            {
                "action": "search",
                "outcome": "success",
                "user": settings.who,
                "count": count,
                "study_uid": study_uid,
                "holder": holder,
                "source": "region studies",
            },
        )
