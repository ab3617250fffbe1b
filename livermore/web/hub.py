"""One reader of the state Redis per web process, fanned out in memory to any number of clients.

Two constant connections: a pub/sub that subscribes to the union of what clients want, and a blocking
read of the signal stream. Every client has a bounded queue; who does not keep up is dropped and told.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextvars import Context
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import redis

from livermore.core import keys
from livermore.web import state
from livermore.web.observed import now_ms

log = logging.getLogger(__name__)

QUEUE_LENGTH = 500
BLOCK_MS = 1_000
PAGE = 500
RETRY_S = 1.0
DROPPED = "dropped"
SIGNAL_CHANNELS = keys.channel_signal("")
CANARY_CHANNELS = keys.channel_canary("")


@dataclass(frozen=True, slots=True)
class Event:
    """What a client gets: `entry` is the id in the signal stream, empty for a wake-up."""

    name: str
    channel: str
    text: str
    entry: str = ""


@dataclass(eq=False, slots=True)
class Client:
    """One listener: its channel patterns and what waits for it; `ended` says why nothing more comes."""

    patterns: Sequence[str]
    queue: asyncio.Queue[Event] = field(default_factory=lambda: asyncio.Queue(QUEUE_LENGTH))
    ended: str = ""

    def offer(self, event: Event) -> None:
        """Queue an event, or end the client when it does not keep up."""
        if self.ended:
            return
        try:
            self.queue.put_nowait(event)
        except asyncio.QueueFull:
            self.end("slow")

    def end(self, why: str) -> None:
        """Forget what waits and let the reader wake up to the reason."""
        self.ended = why
        while not self.queue.empty():
            self.queue.get_nowait()
        self.queue.put_nowait(Event(DROPPED, "", json.dumps({"why": why})))


class Hub:
    """The readers and their clients, all in one event loop."""

    def __init__(self, *steps: Callable[[Hub], Awaitable[None]]) -> None:
        self._steps = [self._hear, self._follow, *(partial(step, self) for step in steps)]
        self.clients: set[Client] = set()
        self._wanted: Counter[str] = Counter()
        self._pubsub: redis.asyncio.client.PubSub | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._standing: set[Callable[[], Awaitable[None]]] = set()
        self._ready = asyncio.Event()
        self._heard_ms: dict[str, int] = {}
        self._listens_since_ms = 0
        self._entries = state.follower()
        # However many clients come back at once, they ask for what they missed over this one connection.
        self._asking = asyncio.Lock()

    async def join(self, patterns: Iterable[str], *, timeout_s: float = 3.0) -> Client:
        """Start to listen; raises `TimeoutError` when the state Redis does not answer in time."""
        if not self._tasks:
            # A context of their own: the readers outlive the request that happens to come first.
            self._tasks = [asyncio.create_task(self._for_ever(s), context=Context()) for s in self._steps]
        await asyncio.wait_for(self._ready.wait(), timeout_s)
        client = Client(tuple(patterns))
        new = [p for p in client.patterns if not self._wanted[p]]
        self._wanted.update(client.patterns)
        self.clients.add(client)
        if new and self._pubsub is not None:
            await self._pubsub.psubscribe(*new)
        return client

    async def leave(self, client: Client) -> None:
        """Stop to listen; patterns nobody else wants are unsubscribed."""
        self.clients.discard(client)
        self._wanted.subtract(client.patterns)
        idle = [p for p in client.patterns if self._wanted[p] <= 0]
        self._wanted = +self._wanted
        if idle and self._pubsub is not None:
            await self._pubsub.punsubscribe(*idle)

    async def _for_ever(self, step: Callable[[], Awaitable[None]]) -> None:
        """Keep one reader alive; while it is away its clients are sent home to resume later."""
        while True:
            try:
                await step()
            except (redis.RedisError, OSError) as error:
                log.warning("web.hub_lost reader=%s why=%s", _name(step), type(error).__name__)
            except Exception:
                log.exception("web.hub_failed reader=%s", _name(step))
            _heed_cancellation()
            if step in self._standing:
                self._send_home(step)
            await asyncio.sleep(RETRY_S)

    def _send_home(self, step: Callable[[], Awaitable[None]]) -> None:
        self._standing.discard(step)
        self._ready.clear()
        for client in self.clients:
            client.end("state Redis unreachable")

    def _stand(self, step: Callable[[], Awaitable[None]]) -> None:
        """A reader has begun; clients are let in when both have."""
        self._standing.add(step)
        if self._standing >= {self._hear, self._follow}:
            self._ready.set()

    async def _hear(self) -> None:
        connection = state.subscriber()
        try:
            self._pubsub = connection.pubsub()
            # One subscription always exists, so that listening never ends for want of any.
            await self._pubsub.psubscribe(keys.channel_exchange("*"), keys.channel_canary("*"), *(+self._wanted))
            self._listens_since_ms = now_ms()
            self._stand(self._hear)
            async for message in self._pubsub.listen():
                if message["type"] == "pmessage":
                    self._wake(message["pattern"], message["channel"], message["data"])
        finally:
            self._pubsub = None
            await connection.aclose()

    def _wake(self, pattern: str, channel: str, text: str) -> None:
        if channel.startswith(SIGNAL_CHANNELS):
            return  # the stream delivers signals, with their ids
        if channel.startswith(CANARY_CHANNELS):
            self._heard_ms[channel.removeprefix(CANARY_CHANNELS)] = now_ms()
            return
        for client in self.clients:
            # Redis repeats a message for every pattern that matches; a client hears the first one only.
            if next((p for p in client.patterns if fnmatchcase(channel, p)), None) == pattern:
                client.offer(Event("wake", channel, text))

    def heard_ms(self, exchange: str) -> int | None:
        """When a canary of the exchange came last, or listening began; None when nobody has listened here yet."""
        return max(self._heard_ms.get(exchange, 0), self._listens_since_ms) or None

    async def newest_entry(self) -> str:
        """The id of the newest signal, `0-0` when there is none."""
        async with self._asking:
            entries = await self._entries.xrevrange(keys.signals_stream(), count=1)
        return entries[0][0] if entries else "0-0"

    async def has_lost(self, after: str) -> bool:
        """May signals after this id have been trimmed? (`0-0` was given out while there were none.)"""
        if order(after) == (0, 0):
            return False
        async with self._asking:
            oldest = await self._entries.xrange(keys.signals_stream(), count=1)
        return bool(oldest) and order(oldest[0][0]) > order(after)

    async def missed(self, after: str) -> AsyncIterator[Event]:
        """The signals after an id, oldest first."""
        while True:
            async with self._asking:
                entries = await self._entries.xrange(keys.signals_stream(), min=f"({after}", count=PAGE)
            for entry, fields in entries:
                after = entry
                yield signal_event(entry, fields["event"])
            if len(entries) < PAGE:
                return

    async def _follow(self) -> None:
        connection = state.follower()
        try:
            newest = await self.newest_entry()
            self._stand(self._follow)
            while True:
                answer = await connection.xread({keys.signals_stream(): newest}, count=100, block=BLOCK_MS)
                _heed_cancellation()
                for _, entries in answer.items() if isinstance(answer, dict) else answer or ():
                    for entry, fields in _flat(entries):
                        newest = entry
                        self.offer(signal_event(entry, fields["event"]))
        finally:
            await connection.aclose()

    def offer(self, event: Event) -> None:
        """Give an event to every client that listens to its channel."""
        for client in self.clients:
            if matches(client.patterns, event.channel):
                client.offer(event)

    def is_wanted(self, prefix: str) -> bool:
        """Does any client listen to channels that begin so?"""
        return any(pattern.startswith(prefix) for pattern in self._wanted)


def _heed_cancellation() -> None:
    """End a task that was told to: redis-py may take that for a time-out of its own, and ask Redis once more."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _name(step: Any) -> str:
    return str(getattr(step, "func", step).__name__)


def order(entry: str) -> tuple[int, int]:
    """Ids of stream entries compare as numbers."""
    at_ms, _, number = entry.partition("-")
    return int(at_ms), int(number or 0)


def signal_event(entry: str, text: str) -> Event:
    """A stream entry as an event on its base's channel."""
    return Event("signal", keys.channel_signal(json.loads(text).get("base", "")), text, entry)


def matches(patterns: Sequence[str], channel: str) -> bool:
    """Does any of the patterns mean this channel?"""
    return any(fnmatchcase(channel, p) for p in patterns)


def _flat(entries: list[Any]) -> list[Any]:
    """RESP3 nests the entries of a stream once more than RESP2."""
    return entries[0] if entries and isinstance(entries[0], list) else entries
