"""The port of the application form, the boxes and the operators' pages; the fake keeps what it was told."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from gateway.errors import ConsultConflict, ConsultNotFound, ConsultRefused, ConsultUnavailable

Json = dict[str, Any]
NOT_LISTED = frozenset({"missing", "allowed", "timeline", "attachments"})
"""What a box does not say of its cases; of the timeline it tells the last step."""
Params = Mapping[str, str | int]


class ConsultDesk(Protocol):
    """The consult service, asked with the user's own token. Errors: `ConsultUnavailable` and below `ConsultRefused`."""

    async def box(self, token: str, params: Params) -> tuple[list[Json], bool]:
        """A page of a box (`box`, `state`, `overdue`, `urgency`, `limit`, `offset`), and if there are more."""
        ...

    async def case(self, token: str, consult_id: str) -> Json:
        """One case, with `allowed` and `missing`."""
        ...

    async def start(self, token: str, application: Mapping[str, Any], once: str) -> Json:
        """Keep a new draft; the case. The same `once` makes one only."""
        ...

    async def save(self, token: str, consult_id: str, revision: int, application: Mapping[str, Any]) -> Json:
        """Keep what is written of a draft or a returned case; `revision` and `missing`. Conflict: another revision."""
        ...

    async def submit(self, token: str, consult_id: str, version: int) -> Json:
        """Submit a draft or a returned case."""
        ...

    async def attach(self, token: str, consult_id: str, *, kind: str, name: str, media_type: str, body: bytes) -> Json:
        """Add a file; how it is listed."""
        ...

    async def detach(self, token: str, consult_id: str, file: str) -> None:
        """Take a file away."""
        ...

    async def read(self, token: str, part: str, params: Params | None = None) -> Any:
        """What lies at `/consults/<part>`: `routing`, `experts`, `experts/search`, `policies/<hospital>`, …"""
        ...

    async def keep(self, token: str, part: str, body: Mapping[str, Any]) -> Any:
        """Replace it, if it is still the revision that `body` names."""
        ...

    async def ask(self, token: str, part: str, body: Mapping[str, Any]) -> Any:
        """Ask something that needs a body: `routing/try`."""
        ...


@dataclass
class FakeConsultDesk:
    """Drafts, boxes and settings in memory."""

    cases: dict[str, Json] = field(default_factory=dict)
    parts: dict[str, Any] = field(default_factory=dict)
    """What `read` answers."""
    asked: list[tuple[str, Any]] = field(default_factory=list)
    """What was asked for, in order."""
    away: bool = False

    async def box(self, token: str, params: Params) -> tuple[list[Json], bool]:
        """See `ConsultDesk.box`."""
        if self.away:
            raise ConsultUnavailable("away")
        self.asked.append(("box", dict(params)))
        wanted = {name: params[name] for name in ("state", "urgency") if params.get(name)}
        wanted |= {"review": {"state": "in-review"}, "drafts": {"state": "draft"}}.get(str(params["box"]), {})
        found = [case for case in self.cases.values() if all(case[name] == value for name, value in wanted.items())]
        begin, limit = int(params.get("offset", 0)), int(params.get("limit", 50))
        page = [{name: value for name, value in case.items() if name not in NOT_LISTED} for case in found]
        page = [{**bare, "timeline": case.get("timeline", [])[-1:]} for bare, case in zip(page, found, strict=True)]
        return page[begin : begin + limit], len(found) > begin + limit

    async def case(self, token: str, consult_id: str) -> Json:
        """See `ConsultDesk.case`."""
        if consult_id not in self.cases:
            raise ConsultNotFound(404, "")
        return dict(self.cases[consult_id])

    async def start(self, token: str, application: Mapping[str, Any], once: str) -> Json:
        """See `ConsultDesk.start`."""
        made = {
            **application,
            "id": f"{len(self.cases) + 1:032x}",
            "number": f"C-20261124-{len(self.cases) + 1:04d}",
            "version": 1,
            "applicant": "doctor.community",
            "applicant_name": "陈建国",
            "applicant_hospital": "community",
            "expert": None,
            "expert_name": None,
            "created_at": "2026-11-24T02:30:00+00:00",
            "application_revision": 1,
            "state": "draft",
            "attachments": [],
            "timeline": [],
            "missing": self._missing(application),
        }
        self.cases[made["id"]] = made
        return dict(made)

    async def save(self, token: str, consult_id: str, revision: int, application: Mapping[str, Any]) -> Json:
        """See `ConsultDesk.save`."""
        case = self.cases[consult_id]
        if case["application_revision"] != revision:
            raise ConsultConflict(409, "", {"revision": case["application_revision"]})
        case.update(application, application_revision=revision + 1, missing=self._missing(application))
        return {"revision": revision + 1, "missing": case["missing"]}

    async def submit(self, token: str, consult_id: str, version: int) -> Json:
        """See `ConsultDesk.submit`."""
        case = self.cases[consult_id]
        if case["missing"]:
            raise ConsultRefused(422, "fields are missing", {"missing": case["missing"]})
        case.update(state="submitted", version=version + 1)
        return dict(case)

    async def attach(self, token: str, consult_id: str, *, kind: str, name: str, media_type: str, body: bytes) -> Json:
        """See `ConsultDesk.attach`."""
        made = {"id": "f1", "kind": kind, "name": name, "media_type": media_type, "size": len(body)}
        self.cases[consult_id]["attachments"] = [*self.cases[consult_id]["attachments"], made]
        return made

    async def detach(self, token: str, consult_id: str, file: str) -> None:
        """See `ConsultDesk.detach`."""
        case = self.cases[consult_id]
        case["attachments"] = [one for one in case["attachments"] if one["id"] != file]

    async def read(self, token: str, part: str, params: Params | None = None) -> Any:
        """See `ConsultDesk.read`."""
        if self.away:
            raise ConsultUnavailable("away")
        self.asked.append((part, dict(params or {})))
        if part not in self.parts:
            raise ConsultNotFound(404, "")
        return self.parts[part]

    async def keep(self, token: str, part: str, body: Mapping[str, Any]) -> Any:
        """See `ConsultDesk.keep`."""
        self.asked.append((part, dict(body)))
        if body.get("revision") != self.parts[part].get("revision"):
            raise ConsultConflict(409, "")
        self.parts[part] = {**self.parts[part], **body, "revision": body["revision"] + 1}
        return self.parts[part]

    async def ask(self, token: str, part: str, body: Mapping[str, Any]) -> Any:
        """See `ConsultDesk.ask`."""
        return await self.read(token, part, {})

    @staticmethod
    def _missing(application: Mapping[str, Any]) -> list[str]:
        return [name for name in ("studies", "purpose") if not application.get(name)]
