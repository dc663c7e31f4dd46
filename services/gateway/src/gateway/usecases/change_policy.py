"""The region's operator changes a hospital's policy: a new revision of its entry in the registry."""

from gateway.errors import RegistryConflict
from gateway.model import HospitalEntry
from gateway.operations.model import Policy, operates_region, with_policy
from gateway.ports import HospitalRegistry
from imaging_common.audit import AuditTrail, who
from imaging_common.auth import Claims


async def change_policy(
    registry: HospitalRegistry, audit: AuditTrail, claims: Claims, hospital: str, revision: int, policy: Policy
) -> HospitalEntry | None:
    """The entry afterwards; None: no right, no such hospital, or somebody changed it since `revision`.

    Raises
    ------
    pydantic.ValidationError
        A value is out of bounds.
    """
    if not operates_region(claims):
        await _audit(audit, claims, hospital, "denied", "not-an-operator")
        return None
    known = {entry.hospital: entry for entry in await registry.all()}.get(hospital)
    if known is None or known.revision != revision:
        return None
    after = with_policy(known, policy)
    changed = [name for name in Policy.model_fields if getattr(known, name) != getattr(after, name)]
    if not changed:
        return known
    await _audit(audit, claims, hospital, "success", "policy: " + " ".join(f"{n}={getattr(after, n)}" for n in changed))
    try:
        await registry.register(after)
    except RegistryConflict:
        return None
    return after


async def _audit(audit: AuditTrail, claims: Claims, hospital: str, outcome: str, reason: str) -> None:
    await audit.record(
        action="permission",
        outcome="success" if outcome == "success" else "denied",
        **who(claims),
        holder=hospital,
        reason=reason,
    )
