"""The model of a consult: pure, without I/O."""

from consult.model.application import (
    Application,
    ConsentKind,
    Diagnosis,
    KeyImage,
    Patient,
    Study,
    TargetKind,
    missing,
)
from consult.model.case import CONSULT_ID, Attachment, Consult, Critical, Limit, Member, Opinion, Step
from consult.model.discussion import Comment, CommentText
from consult.model.order import Order, Target
from consult.model.parties import Box, in_box, is_person, may_see, participants, roles_of, seen_by, was_submitted
from consult.model.report import Outputs, Report, ReportText, Signature, WorkingDraft
from consult.model.states import ENDED, PAUSED, TRANSITIONS, Action, Role, State, Transition

__all__ = [
    "CONSULT_ID",
    "ENDED",
    "PAUSED",
    "TRANSITIONS",
    "Action",
    "Application",
    "Attachment",
    "Box",
    "Comment",
    "CommentText",
    "ConsentKind",
    "Consult",
    "Critical",
    "Diagnosis",
    "KeyImage",
    "Limit",
    "Member",
    "Opinion",
    "Order",
    "Outputs",
    "Patient",
    "Report",
    "ReportText",
    "Role",
    "Signature",
    "State",
    "Step",
    "Study",
    "Target",
    "TargetKind",
    "Transition",
    "WorkingDraft",
    "in_box",
    "is_person",
    "may_see",
    "missing",
    "participants",
    "roles_of",
    "seen_by",
    "was_submitted",
]
