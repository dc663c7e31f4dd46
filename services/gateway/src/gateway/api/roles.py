"""The portal's second rule: who is signed in may look at pages with images only with a role for images."""

from fastapi import Request
from starlette.exceptions import HTTPException

from gateway.api.portal import identity_of, works_with_images


class NoImageRole(HTTPException):
    """The account has no role that opens images."""

    def __init__(self) -> None:
        super().__init__(403, "the account has no role for images")


async def for_image_roles(request: Request) -> None:
    """Refuse who has no such role."""
    if not works_with_images(identity_of(request)):
        raise NoImageRole
