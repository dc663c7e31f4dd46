"""The operator's list of hospitals becomes the registry, and public."""

from collections.abc import Iterable

from gateway.model import HospitalEntry
from gateway.ports import HospitalRegistry


async def register_hospitals(registry: HospitalRegistry, entries: Iterable[HospitalEntry]) -> None:
    """Register each; announced anew at every start, so that a lost log is filled again.

    Raises
    ------
    RegistryConflict
        An entry changed while its revision did not.
    """
    for entry in entries:
        await registry.register(entry)
