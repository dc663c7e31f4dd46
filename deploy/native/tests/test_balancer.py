"""The balancer of the scaling run: connections in turn, past copies that have gone."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from imaging_native.balancer import Balancer
from imaging_native.ports import free_port


@contextlib.asynccontextmanager
async def copy(name: str) -> AsyncIterator[int]:
    """A server that says its name and what it heard."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"{name} heard ".encode() + await reader.read())
        await writer.drain()
        writer.close()

    port = free_port()
    server = await asyncio.start_server(answer, "127.0.0.1", port)
    try:
        yield port
    finally:
        server.close()


async def ask(door: Balancer, words: bytes = b"hello") -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    writer.write(words)
    writer.write_eof()
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return answer


async def test_copies_take_turns_and_a_dead_one_is_passed_over() -> None:
    async with Balancer() as door, copy("first") as first:
        async with copy("second") as second:
            door.copies = [first, second]
            heard = [await ask(door) for _ in range(4)]
            assert sorted(heard) == [b"first heard hello"] * 2 + [b"second heard hello"] * 2
        assert [await ask(door) for _ in range(3)] == [b"first heard hello"] * 3


async def test_bytes_pass_whole() -> None:
    async with Balancer() as door, copy("one") as port:
        door.copies = [port]
        assert await ask(door, bytes(range(256)) * 4000) == b"one heard " + bytes(range(256)) * 4000


async def test_connection_is_closed_when_no_copy_is_there() -> None:
    async with Balancer() as door:
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()
