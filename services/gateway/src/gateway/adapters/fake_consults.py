"""`ConsultService` in memory: few rules, for the pages' tests."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from gateway.errors import ConsultConflict, ConsultNotFound, ConsultRefused, ConsultUnavailable
from gateway.ports import ConsultFile

TARGETS = {
    "accept": "accepted",
    "claim": "assigned",
    "read": "reading",
    "return": "returned",
    "reject": "rejected",
    "withdraw": "withdrawn",
    "issue": "issued",
    "approve": "approved",
    "acknowledge": "acknowledged",
}
NEXT = {
    "submitted": ["accept", "claim", "return", "reject"],
    "assigned": ["read", "release", "return", "reject", "ask-panel", "escalate"],
    "reading": ["draft", "release", "ask-panel", "escalate"],
    "drafted": ["draft", "issue", "request-review", "ask-panel", "escalate"],
    "in-review": ["approve", "decline-review"],
    "issued": ["amend", "acknowledge", "acknowledge-critical"],
}
SIGNED = ("issue", "approve")


class FakeConsults:
    """Cases by id; whoever asks may do whatever a case's state allows."""

    def __init__(self) -> None:
        self.cases: dict[str, dict[str, Any]] = {}
        self.comments: dict[str, list[dict[str, Any]]] = {}
        self.drafts: dict[str, dict[str, Any]] = {}
        self.versions: dict[str, list[dict[str, Any]]] = {}
        self.known: dict[str, Any] = {"templates": [], "phrases": {"phrases": []}, "experts/search": []}
        """Answers to `read`, by path."""
        self.codes: dict[str, dict[str, Any]] = {}
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.acts: list[tuple[str, str, dict[str, Any]]] = []
        """(token, action, body), as they came."""
        self.fresh: set[str] = set()
        """Tokens whose owner has just signed in: they may sign."""
        self.away = False

    async def list(self, token: str, box: str, state: str = "") -> list[dict[str, Any]]:
        """See `ConsultService.list`."""
        self._check()
        return [dict(case) for case in self.cases.values() if state in ("", case["state"])]

    async def get(self, token: str, consult_id: str) -> dict[str, Any]:
        """See `ConsultService.get`."""
        case = self._case(consult_id)
        return {"allowed": NEXT.get(case["state"], []), **case}

    async def act(self, token: str, consult_id: str, action: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """See `ConsultService.act`."""
        case = self._case(consult_id)
        if action in SIGNED and token not in self.fresh:
            raise ConsultRefused(401, "signing needs a fresh sign-in", {"code": "reauthenticate"})
        if case["version"] != body["version"]:
            raise ConsultConflict(409, "", {"state": case["state"], "changed_by": "王强", "version": case["version"]})
        self.acts.append((token, action, dict(body)))
        state = TARGETS.get(action, case["state"])
        timeline = [*case["timeline"], _step(action, state, str(body.get("reason", "")))]
        self.cases[consult_id] = {**case, "state": state, "version": case["version"] + 1, "timeline": timeline}
        return await self.get(token, consult_id)

    async def reports(
        self, token: str, *, studies: Sequence[Mapping[str, str]] = (), consult_id: str = ""
    ) -> Sequence[dict[str, Any]]:
        """See `ConsultService.reports`."""
        self._check()
        issued = [case for case in self.cases.values() if case["report"] and case["report"]["issued_at"]]
        return [c for c in issued if c["id"] == consult_id or any(s in c.get("studies", []) for s in studies)]

    async def read(self, token: str, path: str, params: Mapping[str, str] | None = None) -> Any:
        """See `ConsultService.read`."""
        self._check()
        if path in self.known:
            return self.known[path]
        consult_id, _, part = path.partition("/")
        self._case(consult_id)
        match part:
            case "comments":
                return self.comments.get(consult_id, [])
            case "report/draft":
                return self.drafts.get(consult_id, {"revision": 0, "saved_at": None, "text": {}})
            case "reports":
                return self.versions.get(consult_id, [])
        raise ConsultNotFound(404, "")

    async def keep(self, token: str, path: str, body: Mapping[str, Any]) -> Any:
        """See `ConsultService.keep`."""
        self._check()
        consult_id, _, part = path.partition("/")
        if part != "report/draft":
            self.known[path] = dict(body)
            return dict(body)
        now = self.drafts.get(consult_id, {"revision": 0})["revision"]
        if now != body["revision"]:
            raise ConsultConflict(409, "", {"revision": now})
        kept = {"revision": now + 1, "saved_at": datetime.now(UTC).isoformat(), "text": dict(body["text"])}
        self.drafts[consult_id] = kept
        return kept

    async def send(self, token: str, path: str, body: Mapping[str, Any]) -> Any:
        """See `ConsultService.send`."""
        self._check()
        self.sent.append((path, dict(body)))
        consult_id, _, part = path.partition("/")
        if part == "comments":
            at = datetime.now(UTC).isoformat()
            one = {
                "id": "k1",
                "by": "u",
                "name": "某医生",
                "hospital": "community",
                "at": at,
                "key_image": None,
                **body,
            }
            self.comments.setdefault(consult_id, []).append(one)
            return one
        return {}

    async def file(self, token: str, path: str) -> ConsultFile:
        """See `ConsultService.file`."""
        self._case(path.partition("/")[0])

        async def chunks() -> AsyncIterator[bytes]:
            yield b"%PDF-1.7"

        return ConsultFile("application/pdf", chunks())

    async def verify(self, code: str) -> dict[str, Any] | None:
        """See `ConsultService.verify`."""
        self._check()
        return self.codes.get(code)

    def add(self, consult_id: str, **fields: Any) -> dict[str, Any]:
        """A submitted case."""
        self.cases[consult_id] = {
            "id": consult_id, "number": "C-20261124-0001", "version": 1, "state": "submitted",
            "applicant": "doctor.community", "applicant_name": "陈建国", "applicant_hospital": "community",
            "consultant_hospital": "secondary", "expert": None, "expert_name": None, "purpose": "结节性质？",
            "urgency": "routine", "report": None, "studies": [], "timeline": [_step("submit", "submitted", "")],
            **fields,
        }  # fmt: skip
        return self.cases[consult_id]

    def _case(self, consult_id: str) -> dict[str, Any]:
        self._check()
        if consult_id not in self.cases:
            raise ConsultNotFound(404, "")
        return self.cases[consult_id]

    def _check(self) -> None:
        if self.away:
            raise ConsultUnavailable("away")


def _step(action: str, state: str, reason: str) -> dict[str, Any]:
    at = datetime(2026, 11, 24, 2, 30, tzinfo=UTC).isoformat()
    return {"at": at, "user": "u", "name": "某医生", "action": action, "state": state, "reason": reason}
