"""The discussion in a case."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints

from consult.model.application import KeyImage, Line


class CommentText(BaseModel):
    """What somebody writes into the discussion."""

    text: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4000)]
    mentions: list[Line] = Field(default=[], max_length=20)
    """User ids of whom it addresses."""
    key_image: KeyImage | None = None
    """An image of the case; the viewer opens there."""


class Comment(CommentText):
    """One entry of the discussion; it never changes."""

    id: str
    consult_id: str
    by: str
    name: str
    hospital: str
    at: datetime
