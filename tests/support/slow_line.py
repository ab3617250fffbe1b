"""A TCP line whose bytes arrive late: what a broker an ocean away feels like, wherever the kernel has no netem."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

CHUNK = 64 * 1024


@contextmanager
def slow_line(listen_host: str, to_host: str, to_port: int, one_way_s: float) -> Iterator[int]:
    """Forwards connections to `to_host:to_port`, each direction late by `one_way_s`; yields the port it listens on."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="slow-line", daemon=True)
    thread.start()

    async def joined(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(to_host, to_port)
        with suppress(OSError):
            await asyncio.gather(_pump(reader, there_writer, one_way_s), _pump(there_reader, writer, one_way_s))

    async def listen() -> asyncio.Server:
        return await asyncio.start_server(joined, listen_host, 0)

    server = asyncio.run_coroutine_threadsafe(listen(), loop).result(10)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(_end(server), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, late_s: float) -> None:
    """Every chunk is written so long after it came; many may be on their way."""
    loop = asyncio.get_running_loop()
    with suppress(OSError):
        while chunk := await reader.read(CHUNK):
            loop.call_later(late_s, writer.write, chunk)
    loop.call_later(late_s, writer.close)


async def _end(server: asyncio.Server) -> None:
    server.close()
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
