"""A hospital of the region can be asked for its opinion."""

from consult.ports import HospitalBook
from imaging_common.events import HospitalRegistered


async def keep_hospital(hospitals: HospitalBook, event: HospitalRegistered) -> bool:
    """Note the hospital; False when it is known at this revision."""
    return await hospitals.keep(event.hospital, event.revision, event.level)
