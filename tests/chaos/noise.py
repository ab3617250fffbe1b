"""Noise on the venues' sockets: a share of the frames with trades comes late, twice, or with another price."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.chaos.world import World

LATEST_S = 40.0


class Noise:
    """Each share is of all frames with trades; `step` belongs to the world's steps."""

    def __init__(self, world: World, seed: int, *, late: float = 0.0, twice: float = 0.0, wrong: float = 0.0) -> None:
        self._world, self._random = world, random.Random(seed)
        self._late, self._twice, self._wrong = late, twice, wrong
        self._held: list[tuple[int, Any, Any]] = []
        self._now_us = 0
        self._noisy: dict[Any, Any] = {}
        self.count = 0
        """Frames that were made worse."""

    def step(self, now_us: int) -> None:
        """Take hold of new connections, let go what is late enough."""
        self._now_us = now_us
        for server in self._world.sim.simulation.servers.values():
            for connection in server.stage.connections:
                if connection not in self._noisy:
                    self._noisy[connection] = connection.send
                    connection.send = self._sender(connection.send)
        self._release(now_us)

    def end(self) -> None:
        """What is still held comes now; from here on all is well."""
        self._release(self._now_us + int(LATEST_S * 1e6) + 1)
        for connection, send in self._noisy.items():
            connection.send = send

    def _sender(self, whole: Any) -> Any:
        number = Numbers()

        def send(payload: str | bytes, *, is_trade: bool = False) -> None:
            # A connection's frames are numbered as they leave, whatever is held back.
            whole(number(payload) if self._late else payload, is_trade=is_trade)

        def noisy(payload: str | bytes, *, is_trade: bool = False) -> None:
            if not is_trade:
                send(payload)
                return
            if self._random.random() < self._wrong:
                self.count += 1
                payload = corrupted(payload)
            if self._random.random() < self._late:
                self.count += 1
                due_us = self._now_us + int(self._random.uniform(1.0, LATEST_S) * 1e6)
                self._held.append((due_us, send, payload))
                return
            send(payload, is_trade=True)
            if self._random.random() < self._twice:
                self.count += 1
                send(payload, is_trade=True)

        return noisy

    def _release(self, until_us: int) -> None:
        due = [entry for entry in self._held if entry[0] <= until_us]
        self._held = [entry for entry in self._held if entry[0] > until_us]
        for _, send, payload in due:
            send(payload, is_trade=True)


class Numbers:
    """Coinbase's numbers of one connection, given anew in the order of sending."""

    def __init__(self) -> None:
        self._next: int | None = None

    def __call__(self, payload: str | bytes) -> str | bytes:
        if not isinstance(payload, str) or (found := re.search(r'"sequence_num":(\d+)', payload)) is None:
            return payload
        number = int(found[1]) if self._next is None else self._next
        self._next = number + 1
        return f"{payload[: found.start(1)]}{number}{payload[found.end(1) :]}"


def corrupted(payload: str | bytes) -> str | bytes:
    """The first price off by one in its third digit: near enough to be believed; frames keep their length."""
    text = payload if isinstance(payload, str) else payload.decode("latin-1")
    quoted = re.search(r'"(?:p|price)":"(\d+\.\d+)"', text)
    found = quoted or re.search(r"(\d+\.\d+)", text)
    if found is None:
        return payload
    price = found[1]
    digits = [i for i, sign in enumerate(price) if sign.isdigit() and price[: i + 1].strip("0.")]
    at = found.start(1) + digits[min(2, len(digits) - 1)]
    text = text[:at] + str(int(text[at]) + (-1 if text[at] == "9" else 1)) + text[at + 1 :]
    return text if isinstance(payload, str) else text.encode("latin-1")


@contextmanager
def noise(world: World, **shares: float) -> Iterator[Noise]:
    """Noise at all venues for the length of the context."""
    made = Noise(world, world.clock.now_ms, **shares)
    world.steps.append(made.step)
    try:
        yield made
    finally:
        world.steps.remove(made.step)
        world.sim.call(made.end)
        world.follow()
