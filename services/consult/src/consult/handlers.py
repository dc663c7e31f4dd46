"""Events in: the hospitals of the region, and what becomes of reports in their PACSs."""

from consult.ports import HospitalBook
from consult.reports.letterheads import MongoHospitalNames
from consult.reports.receipts import Receipts
from consult.usecases import keep_hospital
from imaging_common.events import Envelope, HospitalRegistered, WriteBackDone
from imaging_common.messaging import EventRouter


def build_router(hospitals: HospitalBook, names: MongoHospitalNames, receipts: Receipts) -> EventRouter:
    """The whole map from events to use cases."""
    router = EventRouter()

    @router.on(HospitalRegistered, "hospital-registered")
    async def keep_hospital_on_hospital_registered(event: HospitalRegistered, _: Envelope) -> None:
        """On HospitalRegistered: the hospital can be asked, and is named on its reports."""
        await names.keep(event)
        await keep_hospital(hospitals, event)

    @router.on(WriteBackDone, "edge-events-<hospital>")
    async def keep_receipt_on_write_back_done(event: WriteBackDone, envelope: Envelope) -> None:
        """On WriteBackDone: the version says where it is; emits ReportDelivered."""
        await receipts.take(envelope.speaker, event)

    return router
