"""One case: its page, what one does to it, its discussion, its files, its report, and the check of a printed report."""

from fastapi import APIRouter, Depends

from gateway.api.cases.actions import build_actions
from gateway.api.cases.discussion import build_discussion
from gateway.api.cases.editor import build_editor
from gateway.api.cases.files import build_files
from gateway.api.cases.frame import CaseFrame
from gateway.api.cases.page import build_page
from gateway.api.cases.versions import build_versions
from gateway.api.forms import csrf_protected
from gateway.api.portal import Portal
from gateway.api.roles import for_parties
from gateway.web.render import Renderer


def build_cases(portal: Portal, renderer: Renderer) -> APIRouter:
    """`/portal/consults/{consult_id}` and below; literal paths beside it are to be included before."""
    router = APIRouter(prefix="/portal/consults", dependencies=[Depends(for_parties), Depends(csrf_protected)])
    frame = CaseFrame(portal, renderer)
    for build in (build_page, build_files, build_discussion, build_editor, build_versions, build_actions):
        router.include_router(build(frame))
    return router
