"""One socket's life: connect, converse through a Session, collect batches, end. Reconnecting is `stream`'s."""

from __future__ import annotations

import contextlib
import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass

from exchanges.batching import MAX_AGE_NS, Batcher
from exchanges.framing import FrameReader, Opcode
from exchanges.transport import Transport
from exchanges.venue import (
    KEEP,
    Budget,
    Close,
    Event,
    Keep,
    Limits,
    Lost,
    Ready,
    Refused,
    Rest,
    Rotate,
    Send,
    Session,
    SocketAddress,
    Venue,
)
from livermore.core.errors import LivermoreError, RateLimited, RemoteProtocolError, StoreUnavailable, VenueUnavailable
from livermore.core.frame import FrameBatch
from livermore.core.trade import Nanos
from livermore.logs import event

log = logging.getLogger(__name__)

RECEIVE_TIMEOUT_S = 0.05
GATHER_S = 0.01
"""After a small read the next one waits so long: one wake-up then brings many frames."""
SMALL_READ_BYTES = 16 * 1024
HANDSHAKE_WITHIN_S = 30.0
"""For name, TCP, TLS and HTTP together; each read of the handshake has a shorter time-out of its own."""


@dataclass(frozen=True, slots=True)
class Link:
    """What every connection of a stream shares. `emit` takes batches and never blocks for long.

    `connects` grants attempts to connect, failed ones included, for all processes of this address. `crashed` is told
    an error that nobody foresaw. `age_ns` says how old the next batch may become.
    """

    venue: Venue
    rest: Rest
    limits: Limits
    connects: Budget
    epoch: int
    emit: Callable[[FrameBatch], None]
    wake: Callable[[], None]
    crashed: Callable[[Exception], None] = lambda error: None
    age_ns: Callable[[], int] = lambda: MAX_AGE_NS


class Connection(threading.Thread):
    """A thread that owns one socket. Read its attributes from anywhere; change it only by its methods.

    `opened_ns` is set by the handshake, `ready_ns` when every topic is acknowledged, `ended` when the thread
    has said its last word; `error` then tells why (None after `close`). `last_frame_ns` is when anything last
    came; `frames` counts market data only. `refused` natives are not served, `refusal` is the venue's reason.
    """

    def __init__(self, link: Link, natives: Collection[str]) -> None:
        self.id = secrets.token_urlsafe(6)
        super().__init__(name=f"{link.venue.slug}-{self.id}", daemon=True)
        self._link = link
        self.natives = tuple(natives)
        self.refused: frozenset[str] = frozenset()
        self.refusal = ""
        self.opened_ns: int | None = None
        self.ready_ns: int | None = None
        self.last_frame_ns = 0
        self.frames = 0
        self.wants_rotation = ""
        self.losses: deque[tuple[int, int]] = deque()
        self.ended = threading.Event()
        self.error: LivermoreError | None = None
        self._closing = threading.Event()
        self._why_closed = ""
        self._began_s = time.monotonic()
        self._wishes: deque[tuple[str, ...]] = deque()
        self._transport = Transport()
        self._batcher = Batcher(link.venue.slug, self.id, link.epoch)

    # ---- from other threads --------------------------------------------------------------------

    def follow(self, natives: Collection[str]) -> None:
        """Have the session follow another set of native symbols."""
        self.natives = tuple(natives)
        self._wishes.append(self.natives)

    def close(self, why: str = "") -> None:
        """End soon: flush, close with 1000; `why` makes it a failure. A handshake under way is broken off."""
        if not self._closing.is_set():
            self._why_closed = why
            self._closing.set()
        if self.opened_ns is None:
            self._transport.break_off()

    def is_stuck(self) -> bool:
        """Does its handshake take too long?"""
        return self.opened_ns is None and time.monotonic() - self._began_s > HANDSHAKE_WITHIN_S

    @property
    def heard_ns(self) -> int:
        """Until when we know that we missed nothing; 0 before the handshake."""
        return self.last_frame_ns or self.opened_ns or 0

    # ---- the thread ----------------------------------------------------------------------------

    def run(self) -> None:
        """Live until closed or broken; the last batch leaves in any case."""
        try:
            self._converse()
        except LivermoreError as error:
            self.error = error
        except Exception as error:
            # The top of a loop that must live: a bug of ours costs this connection, not the stream.
            event(log, "stream.crashed", logging.ERROR, venue=self._link.venue.slug, connection=self.id)
            log.exception("stream.crashed")
            self._link.crashed(error)
            self.error = VenueUnavailable(f"{type(error).__name__}: {error}")
        try:
            self._flush()
            self._transport.close()
        finally:
            if self._closing.is_set():
                self.error = VenueUnavailable(self._why_closed) if self._why_closed else None
            self.ended.set()
            self._link.wake()

    def _admitted(self) -> None:
        """Take an attempt from the budget; raises `RateLimited` while there is none.

        When the counter cannot be reached, market data comes first: the back-off of each slot bounds the attempts
        then, and no process that starts anew gets its lease without the same store.
        """
        try:
            self._link.connects.spend(1)
        except StoreUnavailable as error:
            event(log, "stream.uncounted", logging.WARNING, connection=self.id, error=error)

    def _open(self, url: str) -> None:
        """Shake hands; a 418 or 429 stops every process of this address."""
        try:
            self._transport.open(url)
        except RateLimited as refusal:
            with contextlib.suppress(StoreUnavailable):
                self._link.connects.close(refusal.until_ms)
            raise

    def _converse(self) -> None:
        self._admitted()
        told = self._link.rest.socket_url(self.natives)
        address = told if isinstance(told, SocketAddress) else SocketAddress(told)
        session = self._link.venue.session(address.within(self._link.limits), self.natives)
        self._open(address.url)
        if self._closing.is_set():
            return
        now = _now()
        self.opened_ns = now
        reader = FrameReader()
        self._obey(session.opened(now))
        is_last = False
        while not is_last:
            is_last = self._closing.is_set()  # what has arrived by then is still taken
            chunk = self._transport.read(self._wait_s(now))
            now = _now()
            if chunk:
                self._take(reader.feed(chunk), session, now)
            while self._wishes:
                natives = self._wishes.popleft()
                self.refused &= frozenset(natives)
                self._obey(session.follow(natives, now))
            self._obey(session.tick(now))
            if self._batcher.is_due(now):
                self._flush()
            if 0 < len(chunk) < SMALL_READ_BYTES:
                time.sleep(GATHER_S)

    def _wait_s(self, now: Nanos) -> float:
        return 0.0 if self._closing.is_set() else min(RECEIVE_TIMEOUT_S, self._batcher.due_in_s(now))

    def _take(self, messages: list[tuple[int, bytes]], session: Session, now: Nanos) -> None:
        """Sort one read's messages into the batch and the conversation."""
        kept: list[bytes] = []
        keep, received = kept.append, session.received
        try:
            for opcode, payload in messages:
                if opcode <= Opcode.BINARY:
                    events = received(payload, now)
                    if events is KEEP:
                        keep(payload)
                    elif events:
                        # A frame that shows a loss may itself be market data.
                        if Keep() in events:
                            keep(payload)
                        self._obey(events)
                elif opcode == Opcode.PING:
                    self._transport.send(payload, Opcode.PONG)
                elif opcode == Opcode.CLOSE:
                    raise VenueUnavailable(_farewell(payload))
        finally:
            self._batcher.add(kept, now)
            self.frames += len(kept)
            if messages:
                self.last_frame_ns = now

    def _obey(self, events: Collection[Event]) -> None:
        for happening in events:
            match happening:
                case Send(text):
                    self._transport.send(text)
                case Ready():
                    self.ready_ns = self.ready_ns or _now()
                    self._link.wake()
                case Refused(natives, why):
                    self.refused |= set(natives)
                    self.refusal = why
                    event(log, "subscription.refused", logging.WARNING, connection=self.id, symbols=natives, why=why)
                    self._link.wake()
                case Lost(why):
                    self.losses.append((self.heard_ns, _now()))
                    event(log, "stream.lost", logging.WARNING, connection=self.id, why=why)
                    self._link.wake()
                case Rotate(why):
                    self.wants_rotation = why
                    self._link.wake()
                case Close(why):
                    raise RemoteProtocolError(why)
                case _:
                    pass

    def _flush(self) -> None:
        batch = self._batcher.take()
        if batch is not None:
            self._link.emit(batch)
            self._batcher.max_age_ns = self._link.age_ns()


def _farewell(payload: bytes) -> str:
    """What a close frame says (RFC 6455 §5.5.1; 1005: no code)."""
    code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else 1005
    return f"closed by the venue: {code} {payload[2:80].decode('utf-8', 'replace')}".strip()


def _now() -> Nanos:
    return Nanos(time.time_ns())
