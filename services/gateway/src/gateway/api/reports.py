"""The hospitals' reports: beside the images of their study, in a search, and those that wait for their study."""

import re
from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response
from starlette.exceptions import HTTPException

from gateway.api.forms import csrf_protected, field
from gateway.api.pages import unseen
from gateway.api.portal import Portal, identity_of
from gateway.api.roles import RoleRefused, for_image_roles
from gateway.dicomweb.access import StudyDoor
from gateway.usecases.read_reports import REVIEW_ROLES, may_handle, may_review
from gateway.web.present import study_view
from gateway.web.present_reports import report_row, report_view, version_view
from gateway.web.render import Renderer
from imaging_common.http import Access, access
from imaging_common.index.reports import ReportDocument, ReportVersion

PAGE_SIZE = 25
MAX_PAGE = 40
_KEY = re.compile(r"[0-9a-f]{32}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
PDF_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "private, no-store",
    "X-Content-Type-Options": "nosniff",
}
"""What a hospital sent is never part of our site: it is saved, or shown in a place without rights."""


async def for_reviewers(request: Request) -> None:
    """Refuse who never decides where a report belongs."""
    claims = identity_of(request).claims
    if not claims.roles & REVIEW_ROLES or not (claims.hospital or "region-operator" in claims.roles):
        raise RoleRefused("not-a-reviewer", "the account does not review reports")


def build_reports(portal: Portal, renderer: Renderer) -> APIRouter:
    """All pages about reports."""
    router = APIRouter(prefix="/portal", dependencies=[Depends(csrf_protected)])
    router.include_router(_of_studies(portal, renderer))
    router.include_router(_review(portal, renderer))
    router.include_router(_search(portal, renderer))
    return router


async def _frame(portal: Portal, request: Request) -> dict[str, Any]:
    """What every whole page needs."""
    hospitals = {entry.hospital: entry for entry in await portal.registry.all()}
    return {"hospitals": hospitals, "unseen": await unseen(portal, request)}


def _of_studies(portal: Portal, renderer: Renderer) -> APIRouter:
    """`/portal/studies/{holder}/{study}/reports` and what its reports are made of."""
    router = APIRouter()
    door = StudyDoor(portal.index, portal.audit)

    async def shown(request: Request, holder: str, study: str) -> dict[str, Any]:
        opened = await door.open(await portal.subject_of(request), study, holder)
        reports = await portal.reports.of_study(f"{holder}/{study}")
        return {
            "study": study_view(opened.holders[0]),
            "reports": [report_view(one) for one in reports],
            "reviewer": may_review(identity_of(request).claims, holder),
        }

    @router.get(
        "/studies/{holder}/{study}/reports", dependencies=[Depends(for_image_roles)], openapi_extra=access(Access.STUDY)
    )
    async def study_reports(request: Request, holder: str, study: str) -> Response:
        """The reports beside the images."""
        context = await shown(request, holder, study)
        return renderer.page(request, "reports_study.html", **context, **await _frame(portal, request))

    @router.get(
        "/studies/{holder}/{study}/reports/panel",
        dependencies=[Depends(for_image_roles)],
        openapi_extra=access(Access.STUDY),
    )
    async def panel(request: Request, holder: str, study: str) -> Response:
        """The reports alone, as they are now."""
        return renderer.page(request, "_reports.html", **await shown(request, holder, study))

    async def opened_version(
        request: Request, hospital: str, key: str, sha256: str
    ) -> tuple[ReportDocument, ReportVersion]:
        """A version whose study the person may see; an unmatched one for who reviews it."""
        report = await _report(portal, hospital, key)
        version = await portal.reports.reports.version(report, sha256) if _DIGEST.fullmatch(sha256) else None
        if version is None:
            raise HTTPException(404)
        claims = identity_of(request).claims
        if may_handle(claims, report):
            await portal.reports.looked(claims, report)
        elif report.study_key is None:
            raise HTTPException(404)
        else:
            await door.open(await portal.subject_of(request), report.study_key.split("/")[1], hospital)
        return report, version

    @router.get("/reports/{hospital}/{key}/{sha256}/original", openapi_extra=access(Access.STUDY))
    async def original(request: Request, hospital: str, key: str, sha256: str) -> Response:
        """The bytes as the hospital sent them, to be saved."""
        _, version = await opened_version(request, hospital, key, sha256)
        if not version.data_key:
            raise HTTPException(404)
        ending = "hl7" if version.kind == "hl7-oru" else "json"
        headers = PDF_HEADERS | {"Content-Disposition": f'attachment; filename="report-{key[:8]}.{ending}"'}
        return Response(await portal.reports.original(version), media_type="application/octet-stream", headers=headers)

    @router.get("/reports/{hospital}/{key}/{sha256}/document/{number}", openapi_extra=access(Access.STUDY))
    async def document(request: Request, hospital: str, key: str, sha256: str, number: int) -> Response:
        """A PDF in a report, to be saved; never shown as part of the portal."""
        _, version = await opened_version(request, hospital, key, sha256)
        data = await portal.reports.document(version, number) if 0 <= number < 100 else None
        if data is None:
            raise HTTPException(404)
        headers = PDF_HEADERS | {"Content-Disposition": f'attachment; filename="report-{key[:8]}-{number + 1}.pdf"'}
        return Response(data, media_type="application/pdf", headers=headers)

    return router


async def _report(portal: Portal, hospital: str, key: str) -> ReportDocument:
    report = await portal.reports.reports.report(hospital, key) if _KEY.fullmatch(key) else None
    if report is None:
        raise HTTPException(404)
    return report


def _page_of(text: str) -> int:
    return min(max(int(text), 1), MAX_PAGE) if re.fullmatch(r"\d{1,3}", text) else 1


def _search(portal: Portal, renderer: Renderer) -> APIRouter:
    """`/portal/reports`: search by POST, so that no name stands in an address."""
    router = APIRouter(prefix="/reports", dependencies=[Depends(for_image_roles)])

    async def found(request: Request, words: str, page: int) -> dict[str, Any]:
        subject, offset = await portal.subject_of(request), (page - 1) * PAGE_SIZE
        rows = await portal.reports.search(subject, words, limit=PAGE_SIZE + 1, offset=offset)
        shown = [report_row(report) for report in rows[:PAGE_SIZE]]
        return {"words": words, "page": page, "more": len(rows) > PAGE_SIZE, "rows": shown}

    @router.get("", openapi_extra=access(Access.IMAGE_ROLES))
    async def newest(request: Request) -> Response:
        """The newest reports, and the search."""
        context = await found(request, "", 1)
        return renderer.page(request, "reports.html", **context, **await _frame(portal, request))

    @router.post("/search", openapi_extra=access(Access.IMAGE_ROLES))
    async def search(request: Request) -> Response:
        """Reports in whose text, names or numbers all words occur."""
        words, page = (await field(request, "words"))[:64], _page_of(await field(request, "page"))
        context = await found(request, words, page)
        return renderer.page(request, "reports.html", **context, **await _frame(portal, request))

    return router


def _review(portal: Portal, renderer: Renderer) -> APIRouter:
    """`/portal/reports/review`: reports that no study is known for, and the choice of one."""
    router = APIRouter(prefix="/reports/review", dependencies=[Depends(for_reviewers)])

    @router.get("", openapi_extra=access(Access.HOSPITAL_STAFF))
    async def review(request: Request, page: str = "1") -> Response:
        """The list, the latest received first."""
        number = _page_of(page)
        claims, offset = identity_of(request).claims, (number - 1) * PAGE_SIZE
        rows = await portal.reports.reviewed(claims, limit=PAGE_SIZE + 1, offset=offset)
        shown = [report_row(report) for report in rows[:PAGE_SIZE]]
        context: dict[str, Any] = {"rows": shown, "page": number, "more": len(rows) > PAGE_SIZE}
        return renderer.page(request, "reports_review.html", **context, **await _frame(portal, request))

    async def handled(request: Request, hospital: str, key: str) -> ReportDocument:
        report = await _report(portal, hospital, key)
        if not may_handle(identity_of(request).claims, report):
            raise HTTPException(404)
        return report

    async def one(request: Request, hospital: str, key: str, message: str = "") -> Response:
        claims = identity_of(request).claims
        report = await handled(request, hospital, key)
        await portal.reports.looked(claims, report)
        versions = await portal.reports.reports.versions_of(report)
        return renderer.page(
            request,
            "reports_match.html",
            status=409 if message else 200,
            report=report_row(report),
            versions=[version_view(version, len(versions) - n) for n, version in enumerate(versions)],
            studies=[study_view(study) for study in await portal.reports.likely_studies(report)],
            message=message,
            **await _frame(portal, request),
        )

    @router.get("/{hospital}/{key}", openapi_extra=access(Access.HOSPITAL_STAFF))
    async def choose(request: Request, hospital: str, key: str) -> Response:
        """One report, and the studies that it may belong to."""
        return await one(request, hospital, key)

    @router.post("/{hospital}/{key}", openapi_extra=access(Access.HOSPITAL_STAFF))
    async def match(request: Request, hospital: str, key: str) -> Response:
        """It belongs to this study, or to none (`study_uid` = `none`)."""
        claims = identity_of(request).claims
        report = await handled(request, hospital, key)
        study_uid, revision = await field(request, "study_uid"), await field(request, "revision")
        chosen = None if study_uid == "none" else study_uid
        if revision != str(report.match_revision) or not await portal.reports.match(claims, report, chosen):
            return await one(request, hospital, key, "report.stale")
        return RedirectResponse("/portal/reports/review", 303)

    return router
