"""Waiting for a condition instead of sleeping for a time."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable


async def until(
    condition: Callable[[], bool | Awaitable[bool]], seconds: float = 30.0, what: str = "condition"
) -> None:
    """Return when `condition` holds.

    Raises
    ------
    AssertionError
        It did not within `seconds`.
    """
    try:
        async with asyncio.timeout(seconds):
            while True:
                outcome = condition()
                if await outcome if inspect.isawaitable(outcome) else outcome:
                    return
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"{what} did not hold within {seconds:g} s") from None
