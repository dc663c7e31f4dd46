"""Who may store, and for which hospital: a hospital's edge agent for its own, the portal for the one that it names.

An edge agent's token, client certificate and AE title (`X-Calling-AE`) must name the same hospital. The portal (role
`gateway`) says for whom it stores (`?holder=`) and who asked it to (`X-On-Behalf-Of`,
a user id, percent-encoded where it is not ASCII; `X-On-Behalf-Of-Hospital`, where it is known). The consult service
(role `consult-service`) stores reports in the same way: encapsulated PDFs and key object selections alone.
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from urllib.parse import unquote

from fastapi import Request

from dicom_ingest.model import REPORT_SOP_CLASSES, Sender, is_hospital
from dicom_ingest.settings import Settings
from imaging_common.access import EDGE_ROLE
from imaging_common.audit import AuditTrail
from imaging_common.auth import Claims, InvalidToken, TokenVerifier
from imaging_common.http import Problem, bearer_claims
from imaging_common.http.peers import edge_mismatch

GATEWAY_ROLE, CONSULT_ROLE = "gateway", "consult-service"
ON_BEHALF_OF, ON_BEHALF_OF_HOSPITAL = "X-On-Behalf-Of", "X-On-Behalf-Of-Hospital"
_USER = re.compile(r"[\x21-\x7e]{1,128}")


def sender_from(
    settings: Settings, verifier: TokenVerifier, audit: AuditTrail, *, portal: bool = False
) -> Callable[[Request], Awaitable[Sender]]:
    """A dependency that knows the sender by bearer token (RFC 6750) and certificate, and audits whom it turns away.

    Parameters
    ----------
    portal
        Whether the portal and the consult service may use the route, too.
    """

    async def sender(request: Request) -> Sender:
        try:
            claims = await bearer_claims(request, verifier)
        except Problem as problem:
            if isinstance(problem.__cause__, InvalidToken):
                await audit.record(action="store", outcome="denied", reason="invalid-token", user="")
            raise
        if portal and EDGE_ROLE not in claims.roles:
            if GATEWAY_ROLE in claims.roles:
                return _for_somebody(request, claims)
            if CONSULT_ROLE in claims.roles:
                return replace(_for_somebody(request, claims, "consult service"), sop_classes=REPORT_SOP_CLASSES)
        reason, text = _refusal(request, settings, claims)
        if reason:
            await audit.record(
                action="store",
                outcome="denied",
                reason=reason,
                user=claims.user,
                hospital=claims.hospital,
                roles=claims.roles,
            )
            raise Problem(403, text, reason=reason)
        return Sender(claims.user, claims.hospital, has_edge=True)

    return sender


def _refusal(request: Request, settings: Settings, claims: Claims) -> tuple[str, str]:
    """Why this sender may not store for its hospital, as a word and a sentence; empty: it may."""
    if EDGE_ROLE not in claims.roles:
        return "not-an-edge-agent", "only an edge agent of a known hospital may store"
    if not is_hospital(claims.hospital):
        return "no-hospital", "only an edge agent of a known hospital may store"
    if request.query_params.get("holder", claims.hospital) != claims.hospital:
        return "foreign-holder", "an edge agent stores for its own hospital only"
    return edge_mismatch(request.scope, settings, claims)


def _for_somebody(request: Request, claims: Claims, who: str = "portal") -> Sender:
    """The portal, or the consult service, stores for a hospital, on behalf of a person.

    Raises
    ------
    Problem
        400, it does not say for which hospital, or on whose behalf.
    """
    holder = request.query_params.get("holder", "")
    if not is_hospital(holder):
        raise Problem(400, f"the {who} names the hospital it stores for: ?holder=<hospital>")
    person = request.headers.get(ON_BEHALF_OF, "")
    if _USER.fullmatch(person) is None:
        raise Problem(400, f"the {who} names the user on whose behalf it stores: {ON_BEHALF_OF}")
    hospital = request.headers.get(ON_BEHALF_OF_HOSPITAL, "")
    if hospital and not is_hospital(hospital):
        raise Problem(400, f"{ON_BEHALF_OF_HOSPITAL} is no hospital's id")
    return Sender(claims.user, holder, has_edge=False, person=unquote(person), person_hospital=hospital)
