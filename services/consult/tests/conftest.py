"""People of two hospitals and a stranger, and the use cases over fakes."""

import pytest

from consult.adapters.fake_consults import FakeConsultStore, FakeHospitalBook
from consult.model import Application, Consult
from consult.usecases import Consults
from imaging_common.audit import AuditTrail
from imaging_common.auth import Claims
from imaging_common.events import AuditRecorded
from imaging_common.messaging import FakePublisher

DOCTOR = Claims("doctor.community", "community", frozenset({"doctor"}), "陈建国")
COLLEAGUE = Claims("colleague.community", "community", frozenset({"doctor"}), "钱芳")
EXPERT = Claims("expert.secondary", "secondary", frozenset({"doctor", "expert"}), "周敏")
RIVAL = Claims("rival.secondary", "secondary", frozenset({"expert"}), "吴刚")
STRANGER = Claims("doctor.tertiary", "tertiary", frozenset({"doctor", "expert"}), "郑洁")
AUDITOR = Claims("auditor.region", "", frozenset({"auditor"}), "何静")
PEOPLE = (DOCTOR, COLLEAGUE, EXPERT, RIVAL, STRANGER, AUDITOR)


def make_application(*studies: str, holder: str = "community", to: str = "secondary") -> Application:
    named = [{"study_uid": study, "holder": holder} for study in studies or ("1.2.3",)]
    return Application.model_validate({"consultant_hospital": to, "studies": named, "purpose": "请会诊"})


@pytest.fixture
def people() -> dict[str, Claims]:
    return {person.user: person for person in PEOPLE}


@pytest.fixture
def application() -> Application:
    return make_application()


@pytest.fixture
def foreign_application() -> Application:
    return make_application(holder="secondary")


@pytest.fixture
def store() -> FakeConsultStore:
    return FakeConsultStore()


@pytest.fixture
def trail() -> FakePublisher:
    return FakePublisher()


@pytest.fixture
def consults(store: FakeConsultStore, trail: FakePublisher) -> Consults:
    return Consults(store, FakeHospitalBook("community", "secondary", "tertiary"), AuditTrail("consult", trail))


@pytest.fixture
async def submitted(consults: Consults, application: Application) -> Consult:
    return await consults.submit(DOCTOR, application, "key-1")


@pytest.fixture
def looks(trail: FakePublisher) -> list[AuditRecorded]:
    """The audit records of looks and denials, as they are written."""
    return trail.published  # type: ignore[return-value]
