"""Waiting for a condition, and reading a multipart answer: what story, faults, tests and benchmarks share."""

import asyncio
import email.parser
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx

DEADLINE_SECONDS = 120


async def until(condition: Callable[[], Any], what: str, seconds: float = DEADLINE_SECONDS) -> Any:
    """Ask `condition` (async) until it gives something true; the deadline names what was waited for."""
    try:
        async with asyncio.timeout(seconds):
            while True:
                if found := await condition():
                    return found
                await asyncio.sleep(0.2)
    except TimeoutError as error:
        raise AssertionError(f"waited {seconds} s for {what}") from error


async def parts(answer: httpx.Response) -> AsyncIterator[bytes]:
    """The bodies of a `multipart/related` answer (RFC 2387)."""
    header = email.parser.HeaderParser().parsestr(f"Content-Type: {answer.headers['content-type']}")
    boundary = b"--" + str(header.get_param("boundary")).encode()
    for part in answer.content.split(boundary)[1:-1]:
        yield part.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n")
