"""`Systems` for tests: answers what it was given, and keeps what it was asked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.errors import SystemsRefused


@dataclass
class FakeSystems:
    """`answers`: by method and path; what is not there is 404."""

    answers: dict[str, Any] = field(default_factory=dict)
    asked: list[tuple[str, Any]] = field(default_factory=list)

    async def ask(
        self,
        token: str,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> Any:
        """See `Systems.ask`."""
        self.asked.append((f"{method} {path}", dict(body) if body is not None else dict(params or {})))
        answer = self.answers.get(f"{method} {path}", SystemsRefused(404, "there is no such subscription"))
        if isinstance(answer, Exception):
            raise answer
        return answer
