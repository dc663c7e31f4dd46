"""A consult's transition becomes access, or its end."""

from gateway.cases import grant_of
from gateway.ports import GrantStore
from imaging_common.events import ConsultEvent


async def apply_grant(grants: GrantStore, event: ConsultEvent) -> bool:
    """Keep whom the case opens which studies to; False when a newer version is known already."""
    return await grants.put(grant_of(event))
