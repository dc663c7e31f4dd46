"""The one access rule: who may do what to a study at a holder. Pure; everything that serves images asks it."""

from imaging_common.access.rule import (
    EDGE_ROLE,
    Action,
    Decision,
    Grant,
    StudyRef,
    Subject,
    decide,
    visible_studies,
)

__all__ = ["EDGE_ROLE", "Action", "Decision", "Grant", "StudyRef", "Subject", "decide", "visible_studies"]
