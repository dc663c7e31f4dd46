"""The use cases over fakes."""

from types import SimpleNamespace

import pytest

from consult.adapters.fake_consults import FakeConsultStore, FakeHospitalBook, FakePolicies, FakeStudyAccess
from consult.adapters.fake_files import FakeFiles
from consult.usecases import Attachments, Consults, Discussion, Drafts
from imaging_common.audit import AuditTrail
from imaging_common.messaging import FakePublisher
from imaging_common.people import FakeDirectory

from .people import LEVELS, PEOPLE, Desk


class Parts(SimpleNamespace):
    """Everything of one service over fakes."""

    store: FakeConsultStore
    trail: FakePublisher
    policies: FakePolicies
    access: FakeStudyAccess
    files: FakeFiles
    consults: Consults
    drafts: Drafts
    attachments: Attachments
    discussion: Discussion
    desk: Desk


def make_parts() -> Parts:
    """A service without cases."""
    parts = Parts(
        store=FakeConsultStore(),
        trail=FakePublisher(),
        policies=FakePolicies(),
        access=FakeStudyAccess(),
        files=FakeFiles(),
    )
    audit, directory = AuditTrail("consult", parts.trail), FakeDirectory(*PEOPLE)
    parts.consults = Consults(parts.store, FakeHospitalBook(**LEVELS), audit, directory, parts.policies, parts.access)
    parts.drafts = Drafts(parts.store, parts.consults)
    parts.attachments = Attachments(parts.store, parts.files, parts.consults, audit)
    parts.discussion = Discussion(parts.store, parts.consults, directory, audit)
    parts.desk = Desk(parts.consults, parts.drafts)
    return parts


@pytest.fixture
def parts() -> Parts:
    return make_parts()


@pytest.fixture
def store(parts: Parts) -> FakeConsultStore:
    return parts.store


@pytest.fixture
def trail(parts: Parts) -> FakePublisher:
    """Where the audit records of looks and denials go."""
    return parts.trail


@pytest.fixture
def consults(parts: Parts) -> Consults:
    return parts.consults


@pytest.fixture
def desk(parts: Parts) -> Desk:
    return parts.desk
