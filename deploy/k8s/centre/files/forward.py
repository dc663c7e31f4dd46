"""Passes every connection to a port of this pod on to HOST:PORT, as `kubectl port-forward` does on a desk.

So a browser finds the portal at a name below `localhost`, which it trusts without TLS.
"""

import asyncio
import sys
from contextlib import suppress

host, _, port = sys.argv[1].rpartition(":")


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until one side ends."""
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection."""
    try:
        there = await asyncio.open_connection(host, int(port))
    except OSError:
        writer.close()
        return
    await asyncio.gather(copy(reader, there[1]), copy(there[0], writer))


async def main() -> None:
    """For ever."""
    server = await asyncio.start_server(accept, "127.0.0.1", int(port))
    await server.serve_forever()


asyncio.run(main())
