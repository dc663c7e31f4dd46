"""`/portal/consults/{consult_id}`: the case beside its images, and the people one may choose for it."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from gateway.api.cases.frame import CaseFrame
from gateway.api.pages import saw_case
from gateway.web.present_case import people
from imaging_common.http import Access, access

MAX_WORDS = 64


def build_page(frame: CaseFrame) -> APIRouter:
    """The page, the case alone, and the search for experts."""
    router = APIRouter()

    @router.get("/{consult_id}", openapi_extra=access(Access.CASE))
    async def case_page(request: Request, consult_id: str) -> Response:
        """The case beside its images; notices that led here are seen."""
        consult = await frame.load(request, consult_id)
        await saw_case(frame.portal, request, consult_id)
        return await frame.page(request, "case.html", consult)

    @router.get("/{consult_id}/case", openapi_extra=access(Access.CASE))
    async def case_part(request: Request, consult_id: str) -> Response:
        """The case alone, as it is now."""
        return await frame.page(request, "_case.html", await frame.load(request, consult_id))

    @router.get("/{consult_id}/people", openapi_extra=access(Access.CASE))
    async def people_part(request: Request, consult_id: str, q: str = "", hospital: str = "") -> Response:
        """Experts whose name, department or sub-specialty has these words; of one hospital, or of all."""
        await frame.load(request, consult_id)
        params = {"q": q[:MAX_WORDS]} | ({"hospital": hospital[:MAX_WORDS]} if hospital else {})
        found = await frame.portal.consults.read(frame.token(request), "experts/search", params)
        hospitals = await frame.hospitals()
        return frame.renderer.page(request, "_case_people.html", people=people(found), hospitals=hospitals)

    return router
