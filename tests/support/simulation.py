"""The venue simulators in a thread, for tests that are not asynchronous."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from exchanges.simulator import Simulation
from tests.support.waiting import LENIENCE

T = TypeVar("T")


class Running:
    """A simulation whose loop runs in another thread; everything goes through `call`.

    `run.call(run.simulation.burst, 60_000)` and the like; the shortest names for the commonest.
    """

    def __init__(self, simulation: Simulation, loop: asyncio.AbstractEventLoop) -> None:
        self.simulation = simulation
        self._loop = loop

    def call(self, function: Callable[..., T], *args: Any, **options: Any) -> T:
        """Run a function in the simulation's own thread and return its result."""

        async def run() -> T:
            return function(*args, **options)

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(60)

    @property
    def endpoints(self) -> dict[str, dict[str, str]]:
        return self.simulation.endpoints

    def fault(self, venue: str, kind: str, **options: Any) -> None:
        self.call(self.simulation.fault, venue, kind, **options)

    def drained(self, within_s: float = 30.0) -> None:
        """Wait until every client was sent everything."""
        deadline = time.monotonic() + within_s
        while not self.call(lambda: self.simulation.is_drained):
            assert time.monotonic() < deadline, "the clients do not read"
            time.sleep(0.01)


@contextmanager
def simulated(*venues: str, **options: Any) -> Iterator[Running]:
    """Serve the venues for the length of the context; options are those of `Simulation`."""
    loop = asyncio.new_event_loop()
    ready, stop, trouble = threading.Event(), asyncio.Event(), []
    running: list[Running] = []

    async def serve() -> None:
        try:
            async with Simulation(venues, **options) as simulation:
                running.append(Running(simulation, loop))
                ready.set()
                await stop.wait()
        except BaseException as error:
            trouble.append(error)
            raise
        finally:
            ready.set()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    assert ready.wait(LENIENCE * 30), "the simulation did not start"
    if trouble:
        raise trouble[0]
    try:
        yield running[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()
