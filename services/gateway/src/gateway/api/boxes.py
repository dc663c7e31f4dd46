"""`/portal/consults`: the boxes of cases, their filters, and their rows as they are now."""

from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from gateway.api.forms import csrf_protected
from gateway.api.pages import unseen
from gateway.api.portal import Portal, session_of
from gateway.consult_desk.application import URGENCIES
from gateway.consult_desk.boxes import STATES, TimeLeft, boxes_of, time_left
from gateway.errors import ConsultRefused
from gateway.usecases.case_studies import case_studies, read_refs
from gateway.web.i18n import Translator
from gateway.web.render import Renderer, language_of
from imaging_common.http import Access, access

PAGE = 25
MAX_PAGE = 4000


def build_boxes(portal: Portal, renderer: Renderer) -> APIRouter:
    """The page and its live part; whoever has no box is told so."""
    router = APIRouter(prefix="/portal/consults", dependencies=[Depends(csrf_protected)])

    async def context(request: Request) -> dict[str, Any]:
        claims, asked = session_of(request).claims, request.query_params
        boxes = boxes_of(claims.roles)
        box = asked.get("box", "") if asked.get("box", "") in boxes else next(iter(boxes), "")
        state = asked.get("state", "") if asked.get("state", "") in STATES else ""
        urgency = asked.get("urgency", "") if asked.get("urgency", "") in URGENCIES else ""
        overdue = asked.get("overdue", "") == "true"
        number = asked.get("page", "1")
        page = min(max(int(number), 1), MAX_PAGE) if number.isdecimal() and len(number) < 6 else 1
        wanted = {"state": state, "urgency": urgency, "overdue": "true" if overdue else ""}
        filters = {name: value for name, value in wanted.items() if value}
        cases, more = await read(request, box, filters, page) if box else ([], False)
        t = Translator(language_of(request))

        def address(base: str = "/portal/consults", **change: str | int) -> str:
            query = {"box": box, **filters, **change}
            return f"{base}?{urlencode({name: value for name, value in query.items() if value})}"

        return {
            "boxes": boxes, "box": box, "state": state, "urgency": urgency, "overdue": overdue, "states": STATES,
            "urgencies": URGENCIES, "cases": cases, "page": page, "more": more, "address": address,
            "time_left": time_left, "left_text": lambda left: left_text(left, t),
            "images": await images(request, cases),
            "hospitals": {entry.hospital: entry for entry in await portal.registry.all()},
        }  # fmt: skip

    async def read(request: Request, box: str, filters: dict[str, str], page: int) -> tuple[list[dict[str, Any]], bool]:
        asked: dict[str, str | int] = {"box": box, **filters, "limit": PAGE, "offset": (page - 1) * PAGE}
        try:
            return await portal.desk.box(session_of(request).tokens.access, asked)
        except ConsultRefused:
            return [], False

    async def images(request: Request, cases: list[dict[str, Any]]) -> dict[str, str]:
        """Modality and body part of each case's first study, as the index says, for those it opens to this person."""
        subject = await portal.subject_of(request)
        found: dict[str, str] = {}
        for case in cases:
            for ref in read_refs([f"{one['holder']}/{one['study_uid']}" for one in case.get("studies", ())])[:1]:
                found[str(case["id"])] = await portal_study(portal, subject, ref)
        return found

    @router.get("", openapi_extra=access(Access.SIGNED_IN))
    async def boxes(request: Request) -> Response:
        """One box."""
        return renderer.page(
            request, "consults.html", unseen=await unseen(portal, request), **await context(request)
        )  # fmt: skip

    @router.get("/rows", openapi_extra=access(Access.SIGNED_IN))
    async def rows(request: Request) -> Response:
        """The list alone, as it is now."""
        return renderer.page(request, "_consults.html", **await context(request))

    return router


async def portal_study(portal: Portal, subject: Any, ref: Any) -> str:
    """`CT CHEST`, or nothing."""
    studies = await case_studies(portal.index, subject, [ref])
    return " ".join([*studies[0].modalities, *studies[0].body_parts[:1]]) if studies else ""


def left_text(left: TimeLeft, t: Translator) -> str:
    """How much time is left, or how long it is over."""
    if left.paused:
        return t("boxes.paused")
    minutes = abs(left.minutes)
    if minutes >= 48 * 60:
        text = t("boxes.days", n=minutes // 1440)
    elif minutes >= 60:
        text = t("boxes.hours", h=minutes // 60, m=minutes % 60)
    else:
        text = t("boxes.minutes", n=minutes)
    return t("boxes.over", time=text) if left.overdue else t("boxes.left", time=text)
