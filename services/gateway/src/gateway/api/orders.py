"""`/portal/orders`: the worklist of the person's own hospital, and a form for a new order."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response
from starlette.exceptions import HTTPException

from gateway.api.forms import csrf_protected, field
from gateway.api.pages import unseen
from gateway.api.portal import Portal, identity_of
from gateway.api.roles import RoleRefused
from gateway.usecases.place_order import (
    FIELDS,
    MODALITIES,
    ORDER_ROLES,
    BadOrder,
    cancel_order,
    place_order,
    read_order,
)
from gateway.usecases.recent_examinations import DAYS, person_typed, recent_examinations
from gateway.web.present import row_view
from gateway.web.render import Renderer
from imaging_common.audit import who
from imaging_common.http import Access, access

SHOWN = 200


async def for_orderers(request: Request) -> None:
    """Refuse who belongs to no hospital or may not place orders."""
    claims = identity_of(request).claims
    if not claims.hospital or not claims.roles & ORDER_ROLES:
        raise RoleRefused("may-not-order", "the account may not place orders")


def build_orders(portal: Portal, renderer: Renderer) -> APIRouter:
    """The list, the form, and taking an order back."""
    router = APIRouter(prefix="/portal/orders", dependencies=[Depends(for_orderers), Depends(csrf_protected)])
    zone = ZoneInfo(portal.settings.time_zone)

    async def page(request: Request, form: dict[str, str], problem: str = "") -> Response:
        claims = identity_of(request).claims
        now = datetime.now(zone)
        empty = dict.fromkeys(FIELDS, "") | {"date": f"{now:%Y-%m-%d}", "time": f"{now:%H}:00", "modality": "CT"}
        orders = await portal.orders.open_orders(claims.hospital, SHOWN)
        await portal.audit.record(action="search", outcome="success", reason="orders", count=len(orders), **who(claims))
        return renderer.page(
            request,
            "orders.html",
            status=422 if problem else 200,
            orders=[_view(order.order, zone) for order in orders],
            modalities=MODALITIES,
            form=empty | form,
            problem=problem,
            hospitals={entry.hospital: entry for entry in await portal.registry.all()},
            unseen=await unseen(portal, request),
        )

    @router.get("", openapi_extra=access(Access.HOSPITAL_STAFF))
    async def orders(request: Request) -> Response:
        """The worklist and an empty form."""
        return await page(request, {})

    @router.post("", openapi_extra=access(Access.HOSPITAL_STAFF))
    async def place(request: Request) -> Response:
        """Place an order; a field that cannot be taken is named, and what was typed stays."""
        form = {name: await field(request, name) for name in FIELDS}
        claims = identity_of(request).claims
        try:
            order = read_order(form, claims.hospital, zone)
        except BadOrder as error:
            return await page(request, form, str(error))
        await place_order(portal.orders, portal.audit, claims, order)
        return RedirectResponse("/portal/orders", 303)

    @router.post("/recent", openapi_extra=access(Access.HOSPITAL_STAFF))
    async def recent(request: Request) -> Response:
        """Recent similar examinations of the person typed into the form, as far as the orderer may see them."""
        typed, modality, part = [await field(request, name) for name in ("patient_id", "modality", "body_part")]
        rows = []
        if typed:
            subject = await portal.subject_of(request)
            resident, person = await person_typed(portal.index, subject.hospital, typed[:64])
            rows = await recent_examinations(
                portal.index, subject, person, today=datetime.now(zone).date(),
                modalities=[modality] if modality else [], body_parts=[part.upper()] if part else [],
            )  # fmt: skip
            await portal.audit.record(
                action="search", outcome="success", reason="recent-examinations", **who(subject), resident_id=resident,
                count=len(rows),
            )  # fmt: skip
        return renderer.page(
            request,
            "_recent.html",
            asked=bool(typed),
            recent=[row_view(row, {}) for row in rows],
            days=DAYS,
            hospitals={entry.hospital: entry for entry in await portal.registry.all()},
        )

    @router.post("/{order_id}/cancel", openapi_extra=access(Access.HOSPITAL_STAFF))
    async def cancel(request: Request, order_id: str) -> Response:
        """Take an order back: it leaves the worklist."""
        if not await cancel_order(portal.orders, portal.audit, identity_of(request).claims, order_id):
            raise HTTPException(404)
        return RedirectResponse("/portal/orders", 303)

    return router


def _view(order: Any, zone: ZoneInfo) -> dict[str, str]:
    alphabetic, _, written = order.patient_name.partition("=")
    return {
        "id": order.order_id,
        "name": written or alphabetic,
        "latin": alphabetic.replace("^", " ") if written else "",
        "patient_id": order.patient_id,
        "sex": order.sex,
        "birth_date": order.birth_date,
        "accession": order.accession,
        "modality": order.modality,
        "procedure": order.procedure,
        "body_part": order.body_part,
        "station": order.station_ae_title,
        "at": f"{order.scheduled_at.astimezone(zone):%Y-%m-%d %H:%M}",
    }
