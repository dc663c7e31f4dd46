"""The region's report templates (`templates.json`), in Chinese and English, by modality and body part."""

import json
from functools import cache
from importlib.resources import files
from typing import Literal

from pydantic import BaseModel

from consult.routing.facts import group_of


class TemplateText(BaseModel):
    """What it fills in."""

    findings: str
    impression: str
    recommendations: str = ""
    critical_text: str = ""


class Template(BaseModel):
    """One template in one language."""

    id: str
    language: Literal["zh", "en"]
    name_zh: str
    name_en: str
    modality: str
    """DICOM's code (0008,0060); empty: any."""
    body_part: str
    """As DICOM's codes name it (0018,0015); empty: any."""
    positive: bool = False
    text: TemplateText


@cache
def all_templates() -> tuple[Template, ...]:
    """Every template, in the order of the file."""
    text = (files("consult.reports") / "templates.json").read_text(encoding="utf-8")
    return tuple(Template.model_validate(one) for one in json.loads(text))


def templates_for(modality: str, body_part: str) -> list[Template]:
    """Those that fit: of the modality (and, where it is known, the body part) first, then those for anything."""
    wanted, part = ALIKE.get(modality.upper(), modality.upper()), _group(body_part)
    if not wanted:
        return list(all_templates())
    fitting = [one for one in all_templates() if one.modality in ("", wanted)]
    fitting = [one for one in fitting if not one.body_part or not part or _group(one.body_part) == part]
    return sorted(fitting, key=lambda one: (not one.modality, not one.body_part))


ALIKE = {"CR": "DX", "DR": "DX"}
"""Modalities whose reports read alike."""


def _group(body_part: str) -> str:
    plain = body_part.strip().upper()
    return (group_of(plain) or plain) if plain else ""
