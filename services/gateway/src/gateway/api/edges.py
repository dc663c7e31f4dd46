"""Edge agents at the gateway: token, client certificate and AE title must name the same hospital (decision 0007)."""

from starlette.responses import Response
from starlette.types import Scope

from gateway.api.portal import Portal
from gateway.model import Identity
from imaging_common.access import EDGE_ROLE
from imaging_common.audit import who
from imaging_common.http.peers import edge_mismatch
from imaging_common.http.problems import problem


async def refuse_edge(scope: Scope, identity: Identity | None, portal: Portal) -> Response | None:
    """The refusal, audited, of an edge agent whose certificate does not match; None: nobody is refused."""
    if identity is None or identity.session is not None or EDGE_ROLE not in identity.claims.roles:
        return None
    reason, text = edge_mismatch(scope, portal.settings, identity.claims)
    if not reason:
        return None
    claims = identity.claims
    await portal.audit.record(
        action="search",
        outcome="denied",
        reason=reason,
        **who(claims),
    )
    return problem(403, text)
