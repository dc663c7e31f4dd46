"""UPS-RS (PS3.18 §11) at `/dicomweb/workitems`: search and retrieve; the consult service alone changes cases."""

from zoneinfo import ZoneInfo

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from gateway.api.portal import Portal, identity_of
from gateway.dicomweb.negotiation import DICOM_JSON, choose, parse_accept
from gateway.fhir.desk import token_of
from gateway.workitems.cases import CaseLists, TooManyCases
from gateway.workitems.model import Surroundings, consult_of, step_state, workitem
from gateway.workitems.query import BadSearch, parse_search
from imaging_common.http import Access, access

JSON_TYPES = (DICOM_JSON, "application/json")
NOT_FOUND = "There is no such work item."
READ_ONLY = (
    "Work items are searched and read here, not changed: claim and report a case in the portal, or by the consult"
    " service's own API."
)
MORE = '299 gateway "There are {} additional results that can be requested"'


def build_workitems(portal: Portal) -> APIRouter:
    """`GET /workitems`, `GET /workitems/{workitem}`; whoever asks sees the cases they have a part in."""
    router = APIRouter(prefix="/dicomweb")
    lists = CaseLists(portal.desk)
    zone = ZoneInfo(portal.settings.time_zone)

    async def surroundings() -> Surroundings:
        names = {entry.hospital: entry.name_zh for entry in await portal.registry.all()}
        return Surroundings(portal.settings.public_url, zone, names)

    @router.get("/workitems", openapi_extra=access(Access.CASE))
    async def search_workitems(request: Request) -> Response:
        """The asker's cases as work items, the newest first."""
        media = _json_type(request)
        identity = identity_of(request)
        try:
            search = parse_search(request.query_params.multi_items())
            cases = await lists.of(token_of(request, identity), identity.claims.roles, search.states())
            around = await surroundings()
            items = [workitem(case, around) for case in cases if step_state(case)]
            found = [item for item in items if search.fits(item, zone)]
        except BadSearch as error:
            raise HTTPException(400, str(error)) from error
        except TooManyCases as error:
            raise HTTPException(413, str(error)) from error
        page = found[search.offset : search.offset + search.limit]
        left = len(found) - search.offset - len(page)
        if not page:
            return Response(status_code=204)
        headers = {"Warning": MORE.format(left)} if left > 0 else {}
        return Response(orjson.dumps(page), 206 if left > 0 else 200, headers=headers, media_type=media)

    @router.get("/workitems/{workitem_uid}", openapi_extra=access(Access.CASE))
    async def retrieve_workitem(request: Request, workitem_uid: str) -> Response:
        """One of the asker's cases as a work item; 404: it is none of theirs."""
        media = _json_type(request)
        consult_id = consult_of(workitem_uid)
        if consult_id is None:
            raise HTTPException(404, NOT_FOUND)
        case = await lists.one(token_of(request, identity_of(request)), consult_id)
        if step_state(case) is None:
            raise HTTPException(404, NOT_FOUND)
        return Response(orjson.dumps([workitem(case, await surroundings())]), media_type=media)

    @router.api_route(
        "/workitems{rest:path}",
        methods=["GET", "POST", "PUT", "DELETE"],
        include_in_schema=False,
        openapi_extra=access(Access.CASE),
    )
    async def change_workitem(request: Request, rest: str) -> Response:
        """Every other transaction of §11: create, update, change the state, ask for its cancelling, subscribe."""
        if request.method == "GET":
            raise HTTPException(404, NOT_FOUND)
        raise HTTPException(405, READ_ONLY, {"Allow": "GET"})

    return router


def _json_type(request: Request) -> str:
    wanted = choose(parse_accept(request.headers.get("accept"), request.query_params.get("accept")), JSON_TYPES)
    if wanted is None:
        raise HTTPException(406, f"Work items are {DICOM_JSON}.")
    return wanted.type
