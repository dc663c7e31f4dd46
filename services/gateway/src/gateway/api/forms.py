"""What every form of the portal brings: the session's token; and how its fields are read."""

import hmac

from fastapi import Request
from starlette.exceptions import HTTPException

from gateway.api.guard import SAFE_METHODS
from gateway.api.portal import session_of


async def csrf_protected(request: Request) -> None:
    """Refuse a change that does not carry the session's token, as form field `csrf` or header `X-CSRF-Token`."""
    if request.method in SAFE_METHODS:
        return
    token = request.headers.get("x-csrf-token") or await field(request, "csrf")
    if not hmac.compare_digest(token.encode(), session_of(request).csrf.encode()):
        raise HTTPException(403, "the form has expired; open the page again")


async def field(request: Request, name: str) -> str:
    """A text field of the form, without surrounding blanks; empty when it is missing."""
    value = (await request.form(max_files=0, max_fields=100)).get(name, "")
    return value.strip() if isinstance(value, str) else ""


async def fields(request: Request, name: str) -> list[str]:
    """All values of a field."""
    values = (await request.form(max_files=0, max_fields=100)).getlist(name)
    return [value for value in values if isinstance(value, str)]
