"""Signing: who issues or approves a report proves anew who they are, at the provider, before it counts.

The consult service decides whether the proof is fresh (401, `code: reauthenticate`). What is to be signed is kept on
the server; the provider's answer finishes it, for the same person in the same browser alone.
"""

import re
import secrets

from fastapi import Request
from fastapi.responses import RedirectResponse, Response
from starlette.exceptions import HTTPException

from gateway.api.cases.frame import CaseFrame
from gateway.api.portal import Portal, session_of
from gateway.errors import ConsultConflict, ConsultNotFound, ConsultRefused, ConsultUnavailable
from gateway.usecases.sign_in import Proven, Signing
from gateway.web.render import language_of

SIGNED = {"issue": "signed", "approve": "approved"}
"""The actions that are signed, and what the page says afterwards."""
PROOF_SECONDS = 600
_BROWSER = re.compile(r"[A-Za-z0-9_-]{43}")


async def sign(frame: CaseFrame, request: Request, consult_id: str, action: str, version: int) -> Response:
    """Sign if the person proved who they are a moment ago; else show the way to the provider."""
    portal, signing = frame.portal, Signing(consult_id, action, version)
    told = await attempt(portal, frame.token(request), signing)
    if told == "missing":
        raise HTTPException(404)
    if told != "again":
        return signing_ended(signing, told)
    browser = request.cookies.get(portal.sign_in_cookie, "")
    browser = browser if _BROWSER.fullmatch(browser) else secrets.token_urlsafe(32)
    address = await portal.sign_in.begin_signing(
        session_of(request), signing, browser=browser, language=language_of(request)
    )
    consult = await frame.load(request, consult_id)
    response = await frame.page(request, "case_sign.html", consult, action=action, address=address)
    response.set_cookie(
        portal.sign_in_cookie, browser, max_age=PROOF_SECONDS, httponly=True, secure=portal.settings.secure,
        samesite="lax", path="/",
    )  # fmt: skip
    return response


async def sign_now(portal: Portal, proven: Proven) -> Response:
    """The provider has answered: sign, or say that somebody else signed in."""
    if proven.session is None:
        return signing_ended(proven.signing, "another")
    portal.authenticator.forget(proven.session)
    told = await attempt(portal, proven.session.tokens.access, proven.signing)
    return signing_ended(proven.signing, "refused" if told == "missing" else told)


async def attempt(portal: Portal, token: str, signing: Signing) -> str:
    """Do it, and say in a word what came of it."""
    try:
        await portal.consults.act(token, signing.consult, signing.action, {"version": signing.version})
    except ConsultConflict:
        return "conflict"
    except ConsultNotFound:
        return "missing"
    except ConsultRefused as refusal:
        return "again" if refusal.members.get("code") == "reauthenticate" else "refused"
    except ConsultUnavailable:
        return "away"
    return SIGNED[signing.action]


def signing_ended(signing: Signing, told: str) -> Response:
    """Back to the case, which says what happened."""
    return RedirectResponse(f"{signing.page}?told={told}", 303, headers={"Cache-Control": "no-store"})
