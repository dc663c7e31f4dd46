"""A person's own phrases for reports."""

from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints

MAX_PHRASES = 200


class Phrase(BaseModel):
    """A text and the short word that stands for it."""

    short: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=20)]
    text: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]


class Phrases(BaseModel):
    """All of a person's."""

    phrases: list[Phrase] = Field(default=[], max_length=MAX_PHRASES)
