"""Which roles a page is for. Who has none of them is refused, and the refusal is on record (`api/app.py`)."""

from fastapi import Request
from starlette.exceptions import HTTPException

from gateway.api.portal import identity_of, works_with_images
from gateway.operations.model import OPERATOR_ROLES


class RoleRefused(HTTPException):
    """The account has none of the roles that a page is for; `reason` is the word of the audit record."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(403, text)
        self.reason = reason


class NoImageRole(RoleRefused):
    """The account has no role that opens images."""

    def __init__(self) -> None:
        super().__init__("role-without-images", "the account has no role for images")


async def for_image_roles(request: Request) -> None:
    """Refuse who has no such role."""
    if not works_with_images(identity_of(request)):
        raise NoImageRole


async def for_parties(request: Request) -> None:
    """Refuse who can have no part in a case: coordinators hand cases out, and open no images for it."""
    identity = identity_of(request)
    if not works_with_images(identity) and "coordinator" not in identity.claims.roles:
        raise NoImageRole


async def for_operators(request: Request) -> None:
    """Refuse who is no operator, of a hospital or the region."""
    if not identity_of(request).claims.roles & OPERATOR_ROLES:
        raise RoleRefused("not-an-operator", "the account is no operator's")
