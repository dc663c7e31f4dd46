"""What every page of a case needs: the case as its reader may see it, its studies, and the way back after an act."""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import Request
from fastapi.responses import RedirectResponse, Response
from starlette.exceptions import HTTPException

from gateway.api.forms import field
from gateway.api.pages import unseen
from gateway.api.portal import Portal, session_of
from gateway.errors import ConsultConflict, ConsultNotFound, ConsultRefused
from gateway.usecases.case_studies import case_studies, read_refs
from gateway.web.i18n import Translator
from gateway.web.present import study_view
from gateway.web.present_case import CasePage, MarkSeries, mark_series, present
from gateway.web.render import Renderer, language_of, wants_fragment
from imaging_common.index.model import StudyDocument

_ID = re.compile(r"[0-9A-Za-z]{1,64}")
TOLD = frozenset({"signed", "approved", "cancelled", "another", "conflict", "refused", "again", "away"})
"""What a page may be told in its address (`told=`) to say."""


class CaseFrame:
    """The portal's pages about one case."""

    def __init__(self, portal: Portal, renderer: Renderer) -> None:
        self.portal = portal
        self.renderer = renderer

    @staticmethod
    def token(request: Request) -> str:
        """The person's own access token."""
        return session_of(request).tokens.access

    async def load(self, request: Request, consult_id: str) -> dict[str, Any]:
        """The case; 404 when there is none for this person."""
        known_id(consult_id)
        try:
            return await self.portal.consults.get(self.token(request), consult_id)
        except ConsultNotFound as error:
            raise HTTPException(404) from error

    async def asked(self, question: Awaitable[Any]) -> Any:
        """An answer of the consult service about a case; 404 when it says so."""
        try:
            return await question
        except ConsultNotFound as error:
            raise HTTPException(404) from error

    async def hospitals(self) -> dict[str, Any]:
        """The registry, by id."""
        return {entry.hospital: entry for entry in await self.portal.registry.all()}

    async def context(self, request: Request, consult: dict[str, Any], **more: Any) -> dict[str, Any]:
        """What the case's templates show."""
        documents = await self._studies(request, consult)
        hospitals = await self.hospitals()
        t = Translator(language_of(request))
        case = present(consult, hospitals, t, session_of(request).claims.user, {d.study_uid for d in documents})
        told = request.query_params.get("told", "")
        return {
            "case": case,
            "consult": case.consult,
            "studies": [study_view(document) for document in documents],
            "marks": await self._marks(documents, case),
            "hospitals": hospitals,
            "message": f"sign.told.{told}" if told in TOLD else "",
            "good": told in ("signed", "approved"),
            "typed": {},
            "failed": "",
            "conflict": {},
            **more,
        }

    async def page(
        self, request: Request, template: str, consult: dict[str, Any], *, status: int = 200, **more: Any
    ) -> Response:
        """A page or a part of one."""
        context = await self.context(request, consult, **more)
        if not template.startswith("_"):
            context["unseen"] = await unseen(self.portal, request)
        return self.renderer.page(request, template, status=status, **context)

    async def after(
        self, request: Request, consult_id: str, act: Callable[[], Awaitable[Any]], typed: Mapping[str, str], name: str
    ) -> Response:
        """Do it, and show the case; when somebody was faster, say who, and keep what was typed."""
        more: dict[str, Any] = {}
        status = 200
        try:
            await act()
        except ConsultConflict as conflict:
            status, more = 409, {"message": "case.conflict", "conflict": conflict.members}
        except ConsultNotFound as error:
            raise HTTPException(404) from error
        except ConsultRefused as refusal:
            key = "case.forbidden" if refusal.status == 403 else "case.refused"
            status, more = 422, {"message": key, "conflict": {"missing": refusal.members.get("missing", [])}}
        if status == 200 and not wants_fragment(request):
            return RedirectResponse(f"/portal/consults/{consult_id}", 303)
        if status != 200:
            more |= {"typed": dict(typed), "failed": name, "good": False}
        template = "_case.html" if wants_fragment(request) else "case.html"
        return await self.page(request, template, await self.load(request, consult_id), status=status, **more)

    async def _studies(self, request: Request, consult: Mapping[str, Any]) -> list[StudyDocument]:
        refs = read_refs([f"{study['holder']}/{study['study_uid']}" for study in consult.get("studies", [])])
        return await case_studies(self.portal.index, await self.portal.subject_of(request), refs)

    async def _marks(self, documents: list[StudyDocument], case: CasePage) -> list[MarkSeries]:
        found = await self.portal.index.series_of([document.id for document in documents]) if documents else []
        return mark_series(found, case)


def known_id(consult_id: str) -> str:
    """An id as the consult service gives them; 404 for anything else."""
    if not _ID.fullmatch(consult_id):
        raise HTTPException(404)
    return consult_id


async def version_of(request: Request) -> int:
    """The version of the case the form was made from."""
    text = await field(request, "version")
    if not text.isdigit() or len(text) > 9:
        raise HTTPException(422, "the form names no version")
    return int(text)
