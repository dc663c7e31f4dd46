"""An operator deletes, restores or holds a study of the central tier; recorded, and undone within the retention."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from gateway.model import StudyCommands
from gateway.ports import CommandBook
from imaging_common.audit import Action, AuditTrail, who
from imaging_common.auth import Claims
from imaging_common.ids import is_uid
from imaging_common.index.model import StudyDocument
from imaging_common.index.read import StudyIndex

OPERATOR_ROLES = frozenset({"hospital-operator", "region-operator"})
REASONS: Mapping[str, str] = {
    "113001": "Rejected for Quality Reasons",
    "113037": "Rejected for Patient Safety Reasons",
    "113038": "Incorrect Modality Worklist Entry",
    "113039": "Data Retention Policy Expired",
}
"""CID 7011: the codes a rejection note gives (IHE IOCM)."""
ACTS: Mapping[str, Action] = {"delete": "delete", "restore": "restore", "hold": "hold", "release": "hold"}
"""The audit record's name of each command."""
MAX_FOUND = 50


def may_operate_on(claims: Claims, holder: str) -> bool:
    """A hospital's operator on the own hospital's studies, the region's operator on all."""
    if "region-operator" in claims.roles:
        return True
    return "hospital-operator" in claims.roles and bool(claims.hospital) and claims.hospital == holder


async def find_studies(index: StudyIndex, claims: Claims, words: str) -> list[StudyDocument]:
    """Studies by UID, accession number or patient id, as far as the operator may operate on them; none of a PACS."""
    found = await index.studies_named(words.strip(), limit=MAX_FOUND)
    return [study for study in found if study.tier == "central" and may_operate_on(claims, study.holder)]


async def command_study(
    index: StudyIndex,
    book: CommandBook,
    audit: AuditTrail,
    claims: Claims,
    *,
    holder: str,
    study_uid: str,
    action: str,
    reason: str = "",
    revision: int = 0,
    retention_days: int = 30,
) -> StudyCommands | None:
    """Do it; None when it cannot be: no right, no such study in the central tier, an unknown action or reason, too late
    to restore, or somebody ordered something meanwhile."""
    if not is_uid(study_uid) or not may_operate_on(claims, holder):
        await audit.record(
            action="delete", outcome="denied", reason="not-an-operator", holder=holder[:64], **who(claims)
        )
        return None
    known = await index.studies_named(study_uid, limit=MAX_FOUND)
    commands = await book.of(holder, study_uid)
    if commands.revision != revision or (holder, "central") not in {(study.holder, study.tier) for study in known}:
        return None
    done, now = False, datetime.now(UTC)
    record = audit.event(
        action=ACTS.get(action, "delete"),
        outcome="success",
        **who(claims),
        study_uid=study_uid,
        holder=holder,
        reason=reason or action,
    )
    if action == "delete" and not commands.deleted and not commands.held and reason in REASONS:
        purge_after = now + timedelta(days=retention_days)
        done = await book.delete(commands, reason=reason, user=claims.user, purge_after=purge_after, record=record)
    elif action == "restore" and commands.deleted and (commands.purge_after or now) > now:
        done = await book.restore(commands, user=claims.user, record=record)
    elif action in ("hold", "release"):
        done = await book.hold(commands, held=action == "hold", user=claims.user, record=record)
    if not done:
        return None
    return await book.of(holder, study_uid)
