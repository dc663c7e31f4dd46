"""Events in: the hospitals of the region."""

from consult.ports import HospitalBook
from consult.usecases import keep_hospital
from imaging_common.events import Envelope, HospitalRegistered
from imaging_common.messaging import EventRouter


def build_router(hospitals: HospitalBook) -> EventRouter:
    """The whole map from events to use cases."""
    router = EventRouter()

    @router.on(HospitalRegistered, "hospital-registered")
    async def keep_hospital_on_hospital_registered(event: HospitalRegistered, _: Envelope) -> None:
        """On HospitalRegistered: the hospital can be asked."""
        await keep_hospital(hospitals, event)

    return router
