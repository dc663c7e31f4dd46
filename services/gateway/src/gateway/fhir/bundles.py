"""Searchset bundles and their links (FHIR R4B §3.1.1.5). Pure."""

from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from fhir.resources.R4B.bundle import Bundle

from gateway.fhir.parameters import Search


def searchset(
    base: str,
    path: str,
    search: Search,
    found: Sequence[Any],
    *,
    patient: str = "",
    more: bool = False,
    total: int | None = None,
    included: Iterable[Any] = (),
    viewer: str = "",
) -> Bundle:
    """A page of what was found.

    Parameters
    ----------
    patient
        The sealed Patient.id that stands for the resident in the links.
    viewer
        The portal's address: each study then has a link to its images.
    """
    used = [*([("patient", f"Patient/{patient}")] if patient else []), *search.used, ("_count", str(search.count))]

    def link(relation: str, offset: int) -> dict[str, str]:
        query = urlencode([*used, *([("_offset", str(offset))] if offset else [])], quote_via=quote, safe="/,")
        return {"relation": relation, "url": f"{base}/{path}?{query}"}

    links = [link("self", search.offset)]
    if more:
        links.append(link("next", search.offset + search.count))
    if search.offset:
        links.append(link("previous", max(0, search.offset - search.count)))
    entries = [_entry(base, resource, "match", viewer) for resource in found]
    entries += [_entry(base, resource, "include", "") for resource in included]
    body = {"resourceType": "Bundle", "type": "searchset", "link": links, "entry": entries or None, "total": total}
    return Bundle.model_validate({name: value for name, value in body.items() if value is not None})


def _entry(base: str, resource: Any, mode: str, viewer: str) -> dict[str, Any]:
    kind = resource.get_resource_type()
    entry: dict[str, Any] = {"resource": resource, "search": {"mode": mode}}
    if resource.id:
        entry["fullUrl"] = f"{base}/{kind}/{resource.id}"
    if viewer and kind == "ImagingStudy":
        url = f"{viewer}/viewer?StudyInstanceUIDs={resource.id}"
        entry["link"] = [{"relation": "alternate", "url": url}]
    return entry
