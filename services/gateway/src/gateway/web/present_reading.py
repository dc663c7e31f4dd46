"""Fidelity and priors as the viewer's bar shows them: short chips, and what stands behind each."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from gateway.usecases.find_priors import Prior
from gateway.usecases.read_fidelity import SeriesFidelity, StudyFidelity
from gateway.web.i18n import HTML_LANG, Translator, catalogue
from gateway.web.places import Moment, PlaceView
from gateway.web.present import date_text, time_text

TEXTS = "reading.ui."


def texts_of(t: Translator) -> dict[str, str]:
    """The bar's own texts, by what follows `reading.ui.`."""
    found = {key.removeprefix(TEXTS): text for key, text in catalogue(t.language).items() if key.startswith(TEXTS)}
    return {**found, "lang": HTML_LANG[t.language]}


def study_facts(
    fidelity: StudyFidelity,
    place: PlaceView,
    hospital: str,
    reason: str,
    retrieved: datetime | None,
    t: Translator,
    moment: Moment,
) -> dict[str, Any]:
    """One study at one holder: chips, details, and a line for each series."""
    document = fidelity.document
    tier = t("tier." + place.tier)
    when = _when(fidelity, place, retrieved, t, moment)
    chips = [_pixels_chip(fidelity, t), _complete_chip(fidelity, place, t)]
    chips.append({"kind": "place", "level": "plain", "text": f"{hospital} · {tier}"})
    if when:
        chips.append({"kind": "when", "level": "plain", "text": when})
    if document.conflicts or document.corrections:
        chips.append({"kind": "versions", "level": "warn", "text": t("reading.chip.versions")})
    details = [
        (t("reading.detail.pixels"), t("reading.pixels." + fidelity.pixels)),
        (t("reading.detail.complete"), _complete_text(fidelity, t)),
        (t("reading.detail.holder"), f"{hospital} · {tier} · {t('availability.' + place.availability)}"),
        (t("reading.detail.when"), when or "–"),
        (t("reading.detail.changed"), moment(document.updated_at)),
        (t("reading.detail.right"), t.word("reading.right", reason)),
    ]
    if document.rejected:
        details.append((t("reading.detail.rejected"), t("reading.rejected", count=len(document.rejected))))
    if document.conflicts or document.corrections:
        details.append((t("reading.detail.versions"), t("reading.versions")))
    return {
        "key": document.id,
        "study": document.study_uid,
        "title": " ".join(
            x for x in (date_text(document.study_date), " ".join(document.modalities), document.description) if x
        ),
        "chips": chips,
        "details": [{"label": label, "value": value} for label, value in details],
        "series": [_series(one, document.holder, document.study_uid, t) for one in fidelity.series],
    }


def _pixels_chip(fidelity: StudyFidelity, t: Translator) -> dict[str, str]:
    level = {"original": "good", "lossless": "good", "lossy": "warn", "away": "busy"}[fidelity.pixels]
    text = t("reading.chip." + fidelity.pixels)
    lossy = next((one for one in fidelity.series if one.lossy), None)
    if fidelity.pixels == "lossy" and lossy is not None and (told := _loss(lossy)):
        text += f" {told}"
    return {"kind": "pixels", "level": level, "text": text, "value": fidelity.pixels}


def _complete_chip(fidelity: StudyFidelity, place: PlaceView, t: Translator) -> dict[str, str]:
    online, expected = fidelity.document.online_count, fidelity.expected
    if fidelity.complete:
        return {"kind": "complete", "level": "good", "text": t("reading.chip.complete", count=online), "value": "yes"}
    key = "away" if place.away is not None else "partial" if fidelity.document.rejected else "arriving"
    level = "warn" if key != "arriving" else "busy"
    text = t(f"reading.chip.{'incomplete' if key != 'arriving' else key}", online=online, total=expected)
    return {"kind": "complete", "level": level, "text": text, "value": key}


def _complete_text(fidelity: StudyFidelity, t: Translator) -> str:
    document = fidelity.document
    counts = {"online": document.online_count, "total": fidelity.expected}
    if fidelity.complete:
        basis = "announced" if document.announced else "quiet"
        return t(f"reading.complete.{basis}", **counts)
    return t("reading.complete.not" if document.settled else "reading.complete.open", **counts)


def _when(fidelity: StudyFidelity, place: PlaceView, retrieved: datetime | None, t: Translator, moment: Moment) -> str:
    if place.tier == "central":
        return t("reading.when.central", at=moment(fidelity.document.updated_at))
    if place.tier == "pacs":
        return ""
    return t("reading.when.cached", at=moment(retrieved)) if retrieved is not None else ""


def _series(one: SeriesFidelity, holder: str, study_uid: str, t: Translator) -> dict[str, Any]:
    number = f"{one.number} " if one.number is not None else ""
    told = t("reading.pixels.short." + one.pixels)
    if one.lossy and (loss := _loss(one)):
        told += f" ({loss})"
    address = urlencode({"study": study_uid, "series": one.series_uid, "holder": holder})
    return {
        "series": one.series_uid,
        "name": f"{number}{one.modality} {one.description}".strip(),
        "count": f"{one.online}/{one.count}",
        "pixels": one.pixels,
        "text": told if one.pictures else t("reading.pixels.none"),
        "window": f"/viewer/series?{address}" if one.pictures else "",
    }


def _loss(one: SeriesFidelity) -> str:
    return " ".join(part for part in (one.method, f"{one.ratio}:1" if one.ratio else "") if part)


def prior_facts(prior: Prior, hospitals: Mapping[str, str]) -> dict[str, Any]:
    """One of the person's other studies."""
    document = prior.document
    return {
        "study": document.study_uid,
        "date": date_text(document.study_date),
        "time": time_text(document.study_time),
        "modality": " ".join(document.modalities),
        "part": ", ".join(document.body_parts),
        "description": document.description,
        "hospital": hospitals.get(document.holder, document.holder),
        "images": document.instance_count,
        "same": prior.same_part,
        "later": prior.later,
    }
