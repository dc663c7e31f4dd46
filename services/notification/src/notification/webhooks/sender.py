"""Sends one message to one receiver: a deadline, no redirect, no proxy, the body of the answer is not kept."""

import asyncio
import json
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx

from notification.feed.cloudevents import STRUCTURED
from notification.webhooks.addresses import Rules, resolve
from notification.webhooks.errors import BadAddress
from notification.webhooks.signing import signed_headers

USER_AGENT = "imaging-cloud-webhooks/1"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an attempt; `status` None: no answer, `error` says why."""

    status: int | None
    error: str
    milliseconds: int
    retry_after: float | None = None


class Sender(Protocol):
    """Sends."""

    async def send(self, url: str, document: Mapping[str, Any], secrets: Sequence[str]) -> Outcome:
        """One attempt; never raises for what the receiver does. The message's id is the document's `id`."""
        ...


class HttpSender:
    """`Sender` by HTTP."""

    def __init__(self, rules: Rules, deadline_seconds: float, ca: str = "") -> None:
        self._rules = rules
        self._deadline = deadline_seconds
        context = ssl.create_default_context()
        if ca:
            context.load_verify_locations(ca)
        self._client = httpx.AsyncClient(
            verify=context, timeout=deadline_seconds, follow_redirects=False, trust_env=False
        )

    async def send(self, url: str, document: Mapping[str, Any], secrets: Sequence[str]) -> Outcome:
        """See `Sender.send`."""
        body = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
        headers = {
            "content-type": STRUCTURED,
            "user-agent": USER_AGENT,
            **signed_headers(str(document["id"]), datetime.now(UTC), body, secrets),
        }
        begun = time.monotonic()
        status, error, retry_after = None, "", None
        try:
            async with asyncio.timeout(self._deadline):
                answer = await self._post(url, body, headers)
            status, retry_after = answer.status_code, _seconds(answer.headers.get("retry-after", ""))
        except BadAddress as refused:
            error = f"refused: {refused}"
        except (TimeoutError, httpx.TimeoutException):
            error = f"no answer within {self._deadline:g} s"
        except (httpx.HTTPError, ssl.SSLError, OSError) as failed:
            error = type(failed).__name__
        return Outcome(status, error, round((time.monotonic() - begun) * 1000), retry_after)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _post(self, url: str, body: str, headers: dict[str, str]) -> httpx.Response:
        """Connects to the address that was checked; the receiver's name is in `Host` and in TLS."""
        target = await resolve(url, self._rules)
        parts = urlsplit(url)
        ip = f"[{target.ip}]" if ":" in target.ip else target.ip
        request = self._client.build_request(
            "POST",
            parts._replace(netloc=f"{ip}:{target.port}").geturl(),
            content=body.encode(),
            headers={**headers, "host": parts.netloc},
            extensions={"sni_hostname": target.host},
        )
        answer = await self._client.send(request, stream=True)
        await answer.aclose()
        return answer


def _seconds(text: str) -> float | None:
    return float(text) if text.isdecimal() and len(text) < 7 else None
