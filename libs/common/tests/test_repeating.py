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


async def test_stopped_in_the_middle_of_a_step_it_does_nothing_more() -> None:
    begun: list[str] = []
    entered = asyncio.Event()

    async def step() -> None:
        begun.append("step")
        entered.set()
        await asyncio.Event().wait()

    loop = Repeating("test", step, 0.0)
    await loop.start()
    async with asyncio.timeout(10):
        await entered.wait()
    await loop.stop()
    await loop.stop()
    assert begun == ["step"]
