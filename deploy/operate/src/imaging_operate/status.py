"""`region status`: servers, services, readers' lag, dead letters, edge agents."""

import asyncio
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import typer
from confluent_kafka import KafkaException
from minio.error import MinioException
from pymongo.errors import PyMongoError
from urllib3.exceptions import HTTPError

from imaging_operate import lag, servers
from imaging_operate.cli import app
from imaging_operate.console import FAILED, AsJson, State, region, show_json, show_rows
from imaging_operate.settings import RegionSettings

HEALTH_SECONDS = 5.0
SILENT = timedelta(seconds=60)
"""An edge agent that said nothing for so long is offline."""
UP, DOWN = "up", "down"
Row = dict[str, Any]


@app.command()
def status(state: State = None, as_json: AsJson = False) -> None:
    """How the region is: exit code 0 when servers and services are well and no dead letter waits, else 1."""
    with region(state) as settings:
        found = look(settings)
        if as_json:
            show_json(found)
        else:
            show_rows("Servers", found["servers"], ("name", "state", "detail"), as_json=False)
            show_rows("Services", found["services"], ("name", "state", "detail"), as_json=False)
            show_rows("Readers", found["readers"], ("group", "state", "members", "behind"), as_json=False)
            show_rows("Dead letters", found["dead_letters"], ("topic", "waiting"), as_json=False)
            show_rows("Edge agents", found["edges"], EDGE_COLUMNS, as_json=False)
        if not found["well"]:
            raise typer.Exit(FAILED)


EDGE_COLUMNS = ("hospital", "state", "heard", "backlog_instances", "backlog_bytes", "pacs")


def look(settings: RegionSettings) -> Row:
    """Everything that can be seen; what does not answer is said to be down."""
    found: Row = {"servers": [], "readers": [], "dead_letters": [], "edges": []}
    found["servers"].append(_kafka(settings, found))
    found["servers"].append(_mongo(settings, found))
    found["servers"].append(_minio(settings))
    found["services"] = asyncio.run(_services(settings))
    well = all(one["state"] == UP for one in (*found["servers"], *found["services"]))
    return {**found, "well": well and not found["dead_letters"]}


def _kafka(settings: RegionSettings, found: Row) -> Row:
    try:
        admin = servers.kafka(settings)
        found["readers"] = [asdict(one) for one in lag.lags(admin)]
        found["dead_letters"] = [asdict(one) for one in lag.dead_letters(admin)]
    except KafkaException as error:
        return {"name": "kafka", "state": DOWN, "detail": error.args[0].str()}
    return {"name": "kafka", "state": UP, "detail": settings.kafka_bootstrap}


def _mongo(settings: RegionSettings, found: Row) -> Row:
    try:
        with servers.mongo(settings) as client:
            found["edges"] = [_edge(one) for one in client["gateway"]["edges"].find().sort("_id", 1)]
            info = client.admin.command("hello")
    except PyMongoError as error:
        return {"name": "mongodb", "state": DOWN, "detail": type(error).__name__}
    return {"name": "mongodb", "state": UP, "detail": f"replica set {info.get('setName', 'none')}"}


def _edge(document: Row) -> Row:
    heartbeat = document.get("heartbeat") or {}
    heard: datetime | None = document.get("heard_at")
    offline = heard is None or heard < datetime.now(UTC) - SILENT
    pacs = heartbeat.get("pacs") or {}
    return {
        "hospital": document["_id"],
        "state": "offline" if offline else "online",
        "heard": heard.isoformat(timespec="seconds") if heard else None,
        "backlog_instances": heartbeat.get("backlog_instances"),
        "backlog_bytes": heartbeat.get("backlog_bytes"),
        "pacs": None if not pacs else "reachable" if pacs.get("reachable") else "unreachable",
    }


def _minio(settings: RegionSettings) -> Row:
    try:
        names = sorted(bucket.name for bucket in servers.minio(settings).list_buckets())
    except (MinioException, HTTPError) as error:
        return {"name": "minio", "state": DOWN, "detail": type(error).__name__}
    return {"name": "minio", "state": UP, "detail": ", ".join(names)}


async def _services(settings: RegionSettings) -> list[Row]:
    async with httpx.AsyncClient(timeout=HEALTH_SECONDS) as client:
        return await asyncio.gather(*(_service(client, *one) for one in sorted(settings.services.items())))


async def _service(client: httpx.AsyncClient, name: str, address: str) -> Row:
    try:
        answer = await client.get(f"{address}/health/ready")
    except httpx.HTTPError as error:
        return {"name": name, "state": DOWN, "detail": f"{address}: {type(error).__name__}"}
    if answer.status_code == httpx.codes.OK:
        return {"name": name, "state": UP, "detail": address}
    try:
        checks = answer.json().get("checks", {})
    except ValueError:
        checks = {}
    failing = [check for check, outcome in checks.items() if outcome != "ok"]
    return {"name": name, "state": DOWN, "detail": ", ".join(failing) or f"status {answer.status_code}"}
