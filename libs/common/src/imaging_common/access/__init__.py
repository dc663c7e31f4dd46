"""The one access rule: who may do what to a study at a holder. Pure; everything that serves images asks it."""

from imaging_common.access.rule import (
    CONSULT_ROLE,
    EDGE_ROLE,
    GRANT_ONLY_ROLES,
    IMAGE_ROLES,
    LAUNCH_ROLE,
    SHARE_ROLE,
    Action,
    Decision,
    Grant,
    GrantKind,
    StudyRef,
    Subject,
    decide,
    visible_studies,
)

__all__ = [
    "CONSULT_ROLE",
    "EDGE_ROLE",
    "GRANT_ONLY_ROLES",
    "IMAGE_ROLES",
    "LAUNCH_ROLE",
    "SHARE_ROLE",
    "Action",
    "Decision",
    "Grant",
    "GrantKind",
    "StudyRef",
    "Subject",
    "decide",
    "visible_studies",
]
