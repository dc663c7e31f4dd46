"""Reads what a PACS has of one study: attributes and the header of every instance, whole where the PACS gives them."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from edge_agent.errors import PacsRefused, PacsUnreachable
from edge_agent.harvesting import completed_by
from edge_agent.model import PacsInstance
from edge_agent.pacs_model import (
    AVAILABLE_SYNTAX,
    COUNTS,
    INSTANCE_NUMBER,
    PATIENT_AND_STUDY,
    SERIES,
    SERIES_NUMBER,
    SERIES_UID,
    SOP_CLASS,
    SOP_UID,
    DicomJson,
    StudyListing,
    StudyMatch,
    digest_of,
    fingerprint,
    number,
    text,
)
from edge_agent.ports import PacsQuery
from edge_agent.rejections import rejected_instances
from imaging_common.ids import is_uid
from imaging_common.objects.catalogue import Catalogue, CatalogueInstance
from imaging_common.telemetry import get_logger

_log = get_logger(__name__)
NOTHING: Mapping[str, DicomJson] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class StudyContents:
    """A study as the PACS has it now."""

    listing: StudyListing
    fingerprint: str
    """Of all instances that it lists, rejected ones too."""
    content: str
    """Digest of what is said of it."""
    full: bool
    catalogue: Catalogue
    """Its announcement number is still to be given."""
    listed: list[PacsInstance]
    """Every instance, also those that a rejection note takes out of use; they are not in the catalogue."""
    stale: tuple[str, ...] = ()
    """SOP Instance UIDs whose harvested header says otherwise than the PACS does now."""

    @property
    def instances(self) -> list[PacsInstance]:
        """The catalogue's instances, in its order."""
        return [_plain(self.catalogue.study_uid, one) for one in self.catalogue.instances]


async def find_study(query: PacsQuery, study_uid: str) -> tuple[StudyListing, DicomJson] | None:
    """What the PACS says of a study as a whole; None: it does not have it."""
    answers = (await query.studies(StudyMatch(study_uid=study_uid))).studies
    for answer in answers:
        listing = StudyListing.of(answer)
        if listing is not None and listing.study_uid == study_uid:
            return listing, answer
    return None


async def list_instances(query: PacsQuery, study_uid: str) -> str:
    """The fingerprint of a study's instances, without their headers."""
    pairs = []
    for series in await query.series(study_uid):
        series_uid = text(series, SERIES_UID)
        if is_uid(series_uid):
            pairs += [(series_uid, text(one, SOP_UID)) for one in await query.instances(study_uid, series_uid)]
    return fingerprint(pairs)


async def read_study(
    query: PacsQuery, hospital: str, study_uid: str, harvested: Mapping[str, DicomJson] = NOTHING
) -> StudyContents | None:
    """Everything the PACS says of a study; None: it does not have it, or nothing in it.

    Parameters
    ----------
    harvested
        Whole headers by SOP Instance UID that were read from the instances, for a PACS that gives none.

    Raises
    ------
    PacsUnreachable, PacsRefused
        It broke off.
    """
    found = await find_study(query, study_uid)
    if found is None:
        return None
    listing, study = found
    series_list = [one for one in await query.series(study_uid) if is_uid(text(one, SERIES_UID))]
    series_list.sort(key=lambda one: (number(one, SERIES_NUMBER) or 0, text(one, SERIES_UID)))
    entries: list[CatalogueInstance] = []
    for series in series_list:
        entries += await _read_series(query, study_uid, study, series, harvested)
    if not entries:
        return None
    contents = await asyncio.to_thread(_contents, hospital, listing, study, series_list, entries)
    stale = [one.sop_instance_uid for one in entries if not one.full and one.sop_instance_uid in harvested]
    return replace(contents, stale=tuple(stale))


async def _read_series(
    query: PacsQuery, study_uid: str, study: DicomJson, series: DicomJson, harvested: Mapping[str, DicomJson]
) -> list[CatalogueInstance]:
    series_uid = text(series, SERIES_UID)
    if query.gives_headers:
        try:
            headers = await query.headers(study_uid, series_uid)
            found = [_entry(header, series_uid, full=True) for header in headers]
            if found:
                return _ordered(found)
        except (PacsRefused, PacsUnreachable) as error:
            _log.warning("headers-not-given", error=str(error))
    brief = [{**_shared(study), **_shared(series), **one} for one in await query.instances(study_uid, series_uid)]
    found = [_entry(header, series_uid, full=False) for header in brief]
    return _ordered([one and completed_by(one, harvested.get(one.sop_instance_uid)) for one in found])


def _shared(answer: DicomJson) -> DicomJson:
    return {tag: attribute for tag, attribute in answer.items() if tag not in COUNTS}


def _entry(answer: DicomJson, series_uid: str, *, full: bool) -> CatalogueInstance | None:
    uid = text(answer, SOP_UID)
    if not is_uid(uid):
        return None
    header = {tag: answer[tag] for tag in sorted(answer) if tag != AVAILABLE_SYNTAX}
    if not full:
        header[SERIES_UID] = {"vr": "UI", "Value": [series_uid]}
    return CatalogueInstance(
        sop_instance_uid=uid,
        sop_class_uid=text(answer, SOP_CLASS),
        series_uid=series_uid,
        instance_number=number(answer, INSTANCE_NUMBER),
        transfer_syntax_uid=text(answer, AVAILABLE_SYNTAX) or None,
        full=full,
        header=header,
    )


def _ordered(found: list[CatalogueInstance | None]) -> list[CatalogueInstance]:
    entries = {one.sop_instance_uid: one for one in found if one is not None}
    return sorted(entries.values(), key=lambda one: (one.instance_number or 0, one.sop_instance_uid))


def _contents(
    hospital: str,
    listing: StudyListing,
    study: DicomJson,
    series_list: list[DicomJson],
    entries: list[CatalogueInstance],
) -> StudyContents:
    rejected = rejected_instances(one.header for one in entries if one.full)
    kept = [one for one in entries if one.sop_instance_uid not in rejected]
    firsts: dict[str, DicomJson] = {}
    for one in kept:
        if one.full:
            firsts.setdefault(one.series_uid, one.header)
    whole = next(iter(firsts.values()), {})
    present = {one.series_uid for one in kept}
    catalogue = Catalogue(
        hospital=hospital,
        study_uid=listing.study_uid,
        announcement=0,
        study=_completed(study, whole, PATIENT_AND_STUDY),
        series=[
            _completed(one, firsts.get(text(one, SERIES_UID), {}), SERIES)
            for one in series_list
            if text(one, SERIES_UID) in present
        ],
        instances=kept,
    )
    return StudyContents(
        listing,
        fingerprint((one.series_uid, one.sop_instance_uid) for one in entries),
        digest_of(catalogue.model_dump(mode="python", exclude={"announcement"})),
        all(one.full for one in kept),
        catalogue,
        [_plain(listing.study_uid, one) for one in entries],
    )


def _completed(answer: DicomJson, header: DicomJson, tags: tuple[str, ...]) -> DicomJson:
    """A query's answer with the header's values: a PACS may answer in a poorer character set than the file has."""
    told = {tag: header[tag] for tag in tags if "Value" in header.get(tag, {})}
    return {**answer, **told}


def _plain(study_uid: str, one: CatalogueInstance) -> PacsInstance:
    return PacsInstance(
        study_uid,
        one.series_uid,
        one.sop_instance_uid,
        one.sop_class_uid,
        one.instance_number,
        one.transfer_syntax_uid,
    )
