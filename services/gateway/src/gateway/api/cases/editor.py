"""The report editor beside the images: the working draft, templates, phrases; and the second reader's view of it."""

from typing import Any

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from gateway.api.cases.frame import CaseFrame
from gateway.errors import ConsultConflict, ConsultNotFound, ConsultRefused, ConsultUnavailable
from gateway.web.i18n import Translator
from gateway.web.present_case import REPORT
from gateway.web.render import language_of
from imaging_common.http import Access, access

NO_STORE = {"Cache-Control": "no-store"}
WRITES = frozenset({"draft", "issue", "request-review"})
REVIEWS = frozenset({"approve", "decline-review"})
STATUS = {403: 403, 422: 422}


def build_editor(frame: CaseFrame) -> APIRouter:
    """`/portal/consults/{consult_id}/report` and what it saves."""
    router = APIRouter()
    consults = frame.portal.consults

    async def optional(question: Any, otherwise: Any) -> Any:
        """Templates and phrases are a help: without them one can still write."""
        try:
            return await question
        except (ConsultRefused, ConsultUnavailable):
            return otherwise

    @router.get("/{consult_id}/report", openapi_extra=access(Access.CASE))
    async def editor(request: Request, consult_id: str) -> Response:
        """The editor, or what a second reader is to judge; who may do neither goes to the case."""
        token, consult = frame.token(request), await frame.load(request, consult_id)
        may = set(consult.get("allowed", []))
        if not may & (WRITES | REVIEWS):
            return RedirectResponse(f"/portal/consults/{consult_id}", 303)
        draft = await frame.asked(consults.read(token, f"{consult_id}/report/draft"))
        context = await frame.context(request, consult)
        where = {}
        if context["studies"]:
            first = context["studies"][0]
            where = {"modality": first.modalities.split(" ")[0], "body_part": first.body_parts.split(" ")[0]}
        templates = await optional(consults.read(token, "templates", where), [])
        phrases = await optional(consults.read(token, "phrases"), [])
        return await frame.page(
            request,
            "report_editor.html",
            consult,
            draft=draft,
            text={**REPORT, **(draft.get("text") or {})},
            templates=in_language(listed(templates, "templates"), language_of(request)),
            phrases=listed(phrases, "phrases"),
            writes=bool(may & WRITES),
            reviews=bool(may & REVIEWS),
        )

    @router.put("/{consult_id}/report/draft", openapi_extra=access(Access.CASE))
    async def save(request: Request, consult_id: str) -> JSONResponse:
        """Keep what is written: `{revision, text}` to `{revision, saved, version}`; 409 when another window saved."""
        await frame.load(request, consult_id)
        body = json_of(await request.body())
        try:
            kept = await consults.keep(
                frame.token(request),
                f"{consult_id}/report/draft",
                {"revision": body.get("revision", 0), "text": body.get("text", {})},
            )
        except ConsultConflict as conflict:
            return JSONResponse({"code": "conflict", **conflict.members}, 409, headers=NO_STORE)
        except ConsultNotFound as error:
            raise HTTPException(404) from error
        except ConsultRefused as refusal:
            return JSONResponse({"code": "refused"}, STATUS.get(refusal.status, 422), headers=NO_STORE)
        now = await frame.load(request, consult_id)
        saved = frame.renderer.moment(kept.get("saved_at"))[-5:]
        answer = {"revision": kept["revision"], "saved": saved, "version": now["version"], "state": now["state"]}
        answer["state_word"] = Translator(language_of(request)).word("consult", now["state"])
        return JSONResponse({**answer, "allowed": now.get("allowed", [])}, headers=NO_STORE)

    @router.put("/{consult_id}/report/phrases", openapi_extra=access(Access.CASE))
    async def keep_phrases(request: Request, consult_id: str) -> JSONResponse:
        """Replace this person's own phrases: `{phrases: [{short, text}]}`."""
        await frame.load(request, consult_id)
        try:
            await consults.keep(frame.token(request), "phrases", json_of(await request.body()))
        except ConsultRefused as refusal:
            return JSONResponse({"code": "refused"}, STATUS.get(refusal.status, 422), headers=NO_STORE)
        return JSONResponse({}, headers=NO_STORE)

    return router


def json_of(raw: bytes) -> dict[str, Any]:
    """A JSON object; 422 for anything else."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise HTTPException(422, "the body is no JSON") from error
    if not isinstance(body, dict):
        raise HTTPException(422, "the body is no JSON object")
    return body


def in_language(templates: list[dict[str, Any]], language: str) -> list[dict[str, Any]]:
    """Templates to choose from: those of the page's language, and those that name none."""
    return [one for one in templates if one.get("language", language) == language]


def listed(answer: Any, name: str) -> list[dict[str, Any]]:
    """A list, whether it stands alone or under its name."""
    found = answer.get(name, []) if isinstance(answer, dict) else answer
    return [one for one in found or [] if isinstance(one, dict)]
