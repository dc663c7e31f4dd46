"""A loop of a service outlives what goes wrong in it."""

import asyncio

from imaging_common.repeating import Repeating


async def test_next_step_comes_whatever_went_wrong_in_the_last() -> None:
    went_wrong: list[Exception] = [RuntimeError("a surprise"), KeyError("another")]
    done = asyncio.Event()

    async def step() -> None:
        if went_wrong:
            raise went_wrong.pop()
        done.set()

    loop = Repeating("test", step, 0.0)
    await loop.start()
    async with asyncio.timeout(10):
        await done.wait()
    await loop.stop()


async def test_a_step_that_is_under_way_ends_before_the_loop_does() -> None:
    """Cut off, it might have claimed something that nobody would know of until the claim runs out."""
    entered, goes_on, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def step() -> None:
        entered.set()
        await goes_on.wait()
        ended.set()

    loop = Repeating("test", step, 0.0, grace_seconds=60.0)
    await loop.start()
    await entered.wait()
    asyncio.get_running_loop().call_soon(goes_on.set)  # when `stop` waits already
    async with asyncio.timeout(10):
        await loop.stop()
    assert ended.is_set()


async def test_a_step_that_takes_longer_than_the_grace_is_cut_off_and_none_follows() -> None:
    begun: list[str] = []
    entered = asyncio.Event()

    async def step() -> None:
        begun.append("step")
        entered.set()
        await asyncio.Event().wait()

    loop = Repeating("test", step, 0.0, grace_seconds=0.0)
    await loop.start()
    async with asyncio.timeout(10):
        await entered.wait()
    await loop.stop()
    await loop.stop()
    assert begun == ["step"]


async def test_a_step_with_more_to_do_is_followed_at_once() -> None:
    left = [1, 2, 3]
    done = asyncio.Event()

    async def step() -> bool:
        left.pop()
        if not left:
            done.set()
        return bool(left)

    loop = Repeating("test", step, 3600.0)
    await loop.start()
    async with asyncio.timeout(10):
        await done.wait()
    await loop.stop()


async def test_who_waits_for_the_next_step_ends_at_once() -> None:
    entered = asyncio.Event()

    async def step() -> None:
        entered.set()

    loop = Repeating("test", step, 3600.0)
    await loop.start()
    async with asyncio.timeout(10):
        await entered.wait()
        await loop.stop()
