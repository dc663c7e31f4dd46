"""Today's stores read what the release in use wrote to MongoDB, and pass over what a later one adds (decision 0009).

`baseline/documents` has a few documents of every collection, taken at the release by `imaging_native.documents`.
"""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from bson import json_util

from audit.adapters import mongo_records
from consult.adapters import mongo_consults
from consult.invitations.model import Invitation
from consult.model import Comment, Report, WorkingDraft
from consult.reports import store as outputs
from gateway.adapters import access_grants, notices, stores
from gateway.cases import CaseGrant
from gateway.model import Order, StudyCommands
from gateway.operations.onboarding import Onboarding
from gateway.retrievals.model import Retrieval
from imaging_common.contracts.__main__ import BASELINE
from imaging_common.events import EVENT_TYPES
from imaging_common.index.model import ListedInstance, SeriesDocument, StudyDocument
from imaging_common.index.reports import ReportDocument
from notification.deliveries import mongo_deliveries
from notification.deliveries.model import Preferences
from notification.webhooks.model import Attempt

Document = dict[str, Any]
FOLDER = BASELINE / "documents"


def outbox_event(document: Mapping[str, Any]) -> Any:
    """An event that the old copy left for the relay; a copy of today may send it."""
    return EVENT_TYPES[document["type"]].model_validate_json(document["value"])


READERS: dict[str, Callable[[Document], Any]] = {
    "audit.records": mongo_records._link,
    "consult.consults": mongo_consults._consult,
    "consult.comments": lambda one: Comment.model_validate({"id": one["_id"], **one}),
    "consult.working_drafts": WorkingDraft.model_validate,
    "consult.report_versions": Report.model_validate,
    "consult.report_tasks": outputs._task,
    "consult.invitations": lambda one: Invitation.model_validate({"id": one["_id"], **one}),
    "gateway.access_grants": access_grants._grant,
    "gateway.grants": lambda one: CaseGrant(consult_id=one["_id"], **{n: v for n, v in one.items() if n != "_id"}),
    "gateway.hospitals": stores._entry,
    "gateway.notices": notices._kept,
    "gateway.orders": Order.model_validate,
    "gateway.commands": StudyCommands.model_validate,
    "gateway.onboardings": Onboarding.model_validate,
    "gateway.retrievals": Retrieval.model_validate,
    "index.studies": StudyDocument.model_validate,
    "index.series": SeriesDocument.model_validate,
    "index.instances": ListedInstance.from_mongo,
    "index.reports": ReportDocument.model_validate,
    "notification.deliveries": mongo_deliveries._delivery,
    "notification.preferences": lambda one: Preferences.model_validate(one["chosen"], extra="ignore"),
    "notification.webhook_log": Attempt.model_validate,
}


def documents() -> list[Any]:
    found = []
    for path in sorted(FOLDER.glob("*.json")):
        for collection, kept in json_util.loads(path.read_text()).items():
            name = f"{path.stem}.{collection}"
            found += [pytest.param(name, one, id=f"{name}-{n}") for n, one in enumerate(kept) if name in READERS]
    return found


@pytest.mark.parametrize(("collection", "document"), documents())
def test_document_of_the_release_in_use_is_read(collection: str, document: Document) -> None:
    assert READERS[collection](dict(document)) is not None


@pytest.mark.parametrize(("collection", "document"), documents())
def test_field_of_a_later_release_is_passed_over(collection: str, document: Document) -> None:
    READERS[collection](document | {"added_by_the_next_release": {"deep": [1]}})
