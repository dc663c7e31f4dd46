"""QIDO-RS (PS3.18 §10.6): searches for studies, series and instances."""

import asyncio
from collections.abc import Sequence
from typing import Any

import orjson
from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from gateway.dicomweb.availability import Availability
from gateway.dicomweb.negotiation import DICOM_JSON, choose, parse_accept
from gateway.dicomweb.partial import WARNING, warnings
from gateway.dicomweb.qido import BadQuery, Query, parse_query, rows_to_json
from gateway.dicomweb.services import Services, root_of
from gateway.retrievals.model import Away
from imaging_common.access import Subject
from imaging_common.http import Access, access
from imaging_common.ids import is_uid
from imaging_common.index.read import INSTANCES, SERIES, STUDIES, Level, Page, Row

JSON_TYPES = (DICOM_JSON, "application/json")
BEHIND = 1
"""So many rows behind the page are looked for: whether there are more is told, nobody counts them."""


def build_qido(services: Services) -> APIRouter:
    """The search resources; the holder-scoped root has the same."""
    router = APIRouter()

    async def search(request: Request, level: Level, study: str | None = None, series: str | None = None) -> Response:
        media = _json_type(request)
        try:
            query = parse_query(request.query_params.multi_items())
        except BadQuery as error:
            raise HTTPException(400, str(error)) from error
        await _follow(services, query)
        scope: dict[str, Any] = {}
        if study is None:
            subject = await services.subject_of(request)
        else:
            subject = await services.subject_of(request)
            opened = await services.door.open(subject, study, request.path_params.get("holder"), action="search")
            scope["study_key" if level is not STUDIES else "_id"] = {"$in": opened.keys}
        if series is not None:
            scope["series_uid"] = series if is_uid(series) else ""
        if holder := request.path_params.get("holder"):
            scope["holder"] = holder
        page = await _page(services, subject, level, query, scope)
        answering = _answer(services, page.rows, level, query, root_of(request))
        if study is None:
            recorded = services.door.searched(subject, len(page.rows))
            _, (rows, aways) = await asyncio.gather(recorded, answering)  # nothing is sent before both are done
            aways = [*aways, *_unheard(services, subject, page.rows)]
        else:
            rows, aways = await answering
        told = [warnings(aways)] if aways else []
        if page.remaining:
            count = f"more than {page.remaining}" if page.more else page.remaining
            more = f"There are {count} additional results that can be requested"
            told.append(f'299 gateway "{more}"')
        headers = {WARNING: ", ".join(told)} if told else {}
        if not rows:
            return Response(status_code=204, headers=headers)
        return Response(orjson.dumps(rows), media_type=media, headers=headers)

    for root in ("", "/hospitals/{holder}"):

        @router.get(f"{root}/studies", openapi_extra=access(Access.STUDY))
        async def search_studies(request: Request) -> Response:
            return await search(request, STUDIES)

        @router.get(f"{root}/series", openapi_extra=access(Access.STUDY))
        async def search_all_series(request: Request) -> Response:
            return await search(request, SERIES)

        @router.get(f"{root}/instances", openapi_extra=access(Access.STUDY))
        async def search_all_instances(request: Request) -> Response:
            return await search(request, INSTANCES)

        @router.get(f"{root}/studies/{{study}}/series", openapi_extra=access(Access.STUDY))
        async def search_series(request: Request, study: str) -> Response:
            return await search(request, SERIES, study)

        @router.get(f"{root}/studies/{{study}}/instances", openapi_extra=access(Access.STUDY))
        async def search_instances(request: Request, study: str) -> Response:
            return await search(request, INSTANCES, study)

        @router.get(f"{root}/studies/{{study}}/series/{{series}}/instances", openapi_extra=access(Access.STUDY))
        async def search_instances_of_series(request: Request, study: str, series: str) -> Response:
            return await search(request, INSTANCES, study, series)

    return router


def _unheard(services: Services, subject: Subject, rows: Sequence[Row]) -> list[Away]:
    """Holders that cannot be asked now, the asker's own hospital among them: what they have got since is not listed."""
    holders = {document["holder"] for row in rows for document in row.documents} | {subject.hospital}
    return [away for holder in sorted(holders) if holder and (away := services.locations.away(holder))]


def _json_type(request: Request) -> str:
    accepted = parse_accept(request.headers.get("accept"), request.query_params.get("accept"))
    wanted = choose(accepted, JSON_TYPES)
    if wanted is None:
        raise HTTPException(406, f"Search results are {DICOM_JSON}.")
    return wanted.type


async def _follow(services: Services, query: Query) -> None:
    """The resident that a search names is also every resident merged into the same person."""
    if query.resident:
        query.resident, ids = await services.index.resident(query.resident)
        query.clauses[STUDIES.collection].append({"resident_id": {"$in": list(ids)}})


async def _page(services: Services, subject: Subject, level: Level, query: Query, scope: dict[str, Any]) -> Page:
    """One page; keys of upper levels first narrow down what is searched below them."""
    clauses = [scope, query.where(level)]
    if level is not STUDIES and query.where(STUDIES):
        keys = await services.index.keys(STUDIES, subject, query.where(STUDIES))
        clauses.append({"study_key": {"$in": keys}})
    if level is INSTANCES and query.where(SERIES):
        keys = await services.index.keys(SERIES, subject, query.where(SERIES))
        clauses.append({"series_key": {"$in": keys}})
    if level is STUDIES and query.where(SERIES):
        keys = await services.index.study_keys(SERIES, subject, query.where(SERIES))
        clauses.append({"_id": {"$in": keys}})
    where = {"$and": [clause for clause in clauses if clause] or [{}]}
    return await services.index.search(level, subject, where, limit=query.limit, offset=query.offset, lookahead=BEHIND)


async def _answer(
    services: Services, rows: Sequence[Row], level: Level, query: Query, base: str
) -> tuple[list[dict[str, Any]], list[Away]]:
    """The rows, and the holders of some of them that cannot be asked for pixels now."""
    ids = [row.first["_id"] for row in rows]
    upper: dict[str, dict[str, Any]] = {}
    if level is not STUDIES:
        keys = {document["study_key"] for row in rows for document in row.documents}
        upper |= await services.index.documents(STUDIES, keys)
    if level is INSTANCES:
        upper |= await services.index.documents(SERIES, {row.first["series_key"] for row in rows})
        headers = await services.index.headers(ids)
    elif query.include or query.include_all:
        headers = await services.index.first_headers(ids, level)
    else:
        headers = {}
    states = Availability(services.locations, upper)
    if level is INSTANCES:
        await states.look_up(services.index, [document for row in rows for document in row.documents])
    available = {row.first["_id"]: states.of(row) for row in rows}
    if level is STUDIES:
        rows = [await _merged(services, row) if len(row.documents) > 1 else row for row in rows]
    answer = rows_to_json(rows, level, query, base=base, upper=upper, headers=headers, available=available)
    return answer, list(states.aways.values())


async def _merged(services: Services, row: Row) -> Row:
    """A study that several holders have: counts over the series as they would be served, each from one holder."""
    order = {document["_id"]: position for position, document in enumerate(row.documents)}
    chosen: dict[str, Any] = {}
    for series in sorted(await services.index.series_of(list(order)), key=lambda s: order[s.study_key]):
        chosen.setdefault(series.series_uid, series)
    first = {
        **row.first,
        "series_count": len(chosen),
        "instance_count": sum(series.instance_count for series in chosen.values()),
        "modalities": sorted({series.modality for series in chosen.values() if series.modality}),
    }
    return Row((first, *row.documents[1:]))
