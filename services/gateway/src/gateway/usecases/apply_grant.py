"""A consult's transition becomes access, or its end."""

from gateway.model import grant_of, grants_from
from gateway.ports import GrantStore
from imaging_common.events import ConsultEvent


async def apply_grant(grants: GrantStore, event: ConsultEvent) -> bool:
    """Keep whom the case opens which studies to; False when a newer version is known already."""
    others = [
        case
        for case in await grants.of_applicant(event.applicant, event.applicant_hospital)
        if case.consult_id != event.consult_id
    ]
    return await grants.put(grant_of(event, grants_from(others)))
