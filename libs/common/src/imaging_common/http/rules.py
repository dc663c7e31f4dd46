"""Every route names its access rule in its OpenAPI operation; a route without one does not start.

The name says which check answers the request; the matrix test (tests/integration) asks every route as every kind of
user and compares with what the name promises.
"""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Any

from fastapi import FastAPI

KEY = "x-access-rule"


class Access(StrEnum):
    """Who may call a route; what they see behind it is decided per (study, holder) in `imaging_common.access`."""

    PUBLIC = "public"
    """Anybody: health, sign-in, static files, landing pages that take a secret."""
    AUTHENTICATED = "authenticated"
    """People and programs alike; it says nothing of anybody's images."""
    SIGNED_IN = "signed-in"
    """Anybody with a portal session."""
    IMAGE_ROLES = "image-roles"
    """Portal session of a doctor or expert."""
    STUDY = "study"
    """Whoever the access rule lets see the study; session, launch, share link or bearer. Else 404."""
    ANNOTATE = "annotate"
    """Image roles, for studies they may see; no window, no link. Else 404."""
    VIEWER = "viewer"
    """A session that may open images at all: image roles, an EHR's windows, share links. No study by itself."""
    CASE = "case"
    """Parties of the consult; a list shows each its own."""
    APPLY = "apply"
    """Doctors, for studies of their own hospital."""
    HOSPITAL_OPERATOR = "hospital-operator"
    """Operators, of their hospital; the region's of all."""
    UPLOAD = "upload"
    """Doctors, experts and operators of a hospital: they store for it through the portal."""
    HOSPITAL_STAFF = "hospital-staff"
    """Doctors, experts and operators of a hospital, for what concerns it: its orders, its reports' review."""
    REGION_OPERATOR = "region-operator"
    AUDITOR = "auditor"
    EHR = "ehr"
    """A registered EHR's own account (bearer)."""
    EHR_OR_STUDY = "ehr-or-study"
    """The EHR's own account, for residents' records; people by the access rule."""
    EDGE = "edge-agent"
    """A hospital's edge agent, for its hospital: token and client certificate name the same."""
    LOCAL = "local"
    """Only from the machine itself (the edge agent's status page)."""
    STORE = "store"
    """Whoever may store for a hospital: its edge agent, the portal for its people, the consult service its reports."""


def access(rule: Access) -> dict[str, Any]:
    """For a route's `openapi_extra`."""
    return {KEY: rule.value}


def routes_without_rule(app: FastAPI) -> list[str]:
    """`GET /path` of every route that names none; routes of included routers, too."""
    return [
        f"{','.join(sorted(route.methods or ()))} {route.path}"
        for route in _every_route(app.routes)
        if KEY not in (route.openapi_extra or {})
    ]


def _every_route(routes: Iterable[Any]) -> Iterator[Any]:
    """All of the API; FastAPI keeps included routers as one route each, which tells theirs when asked."""
    for route in routes:
        if hasattr(route, "effective_route_contexts"):
            yield from _every_route(route.effective_route_contexts())
        elif hasattr(route, "openapi_extra"):
            yield route


def require_rules(app: FastAPI) -> None:
    """Raise when a route names no rule: nothing is open by forgetting it."""
    if missing := routes_without_rule(app):
        raise RuntimeError(f"these routes name no access rule (openapi_extra=access(…)): {'; '.join(missing)}")
