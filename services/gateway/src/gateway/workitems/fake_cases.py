"""Cases as the consult service answers them, for tests."""

from datetime import UTC, datetime, timedelta
from typing import Any


def fake_case(n: int, **changes: Any) -> dict[str, Any]:
    """A case of the community hospital, asked of the secondary one, as the consult service answers it."""
    at = datetime(2026, 11, 24, 2, 30, tzinfo=UTC) + timedelta(hours=n)
    state = changes.get("state", "submitted")
    return {
        "id": f"{n:032x}", "number": f"C-20261124-{n:04d}", "version": 1, "state": state,
        "applicant": "doctor.community", "applicant_name": "陈建国", "applicant_hospital": "community",
        "consultant_hospital": "secondary", "expert": None, "expert_name": None, "expert_hospital": "",
        "submitted_at": at.isoformat(), "created_at": at.isoformat(), "urgency": "routine", "purpose": "结节性质？",
        "questions": ["是否穿刺？"], "examination_items": ["胸部CT平扫"], "desired_at": None, "amendment_reason": "",
        "patient": {"patient_id": f"P-{n:03d}", "issuer": "", "resident_id": "R-1001", "name": "张伟", "sex": "M",
                    "birth_date": "19700601"},
        "diagnoses": [{"code": "R91.1", "text": "孤立性肺结节"}, {"code": "", "text": "咳嗽"}],
        "studies": [{"study_uid": f"1.2.{n}", "holder": "community"}],
        "limits": [{"name": "report", "due_at": (at + timedelta(days=1)).isoformat(), "met_at": None}],
        "timeline": [{"at": at.isoformat(), "user": "u", "name": "n", "action": "submit", "state": state,
                      "reason": ""}],
        "report": None, "parent_id": "", "children": [],
        **changes,
    }  # fmt: skip
