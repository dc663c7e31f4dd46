"""The use cases over fakes."""

import pytest

from consult.adapters.fake_consults import FakeConsultStore, FakeHospitalBook
from consult.usecases import Consults
from imaging_common.audit import AuditTrail
from imaging_common.messaging import FakePublisher


@pytest.fixture
def store() -> FakeConsultStore:
    return FakeConsultStore()


@pytest.fixture
def trail() -> FakePublisher:
    """Where the audit records of looks and denials go."""
    return FakePublisher()


@pytest.fixture
def consults(store: FakeConsultStore, trail: FakePublisher) -> Consults:
    return Consults(store, FakeHospitalBook("community", "secondary", "tertiary"), AuditTrail("consult", trail))
