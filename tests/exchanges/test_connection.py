"""One connection against a server that misbehaves byte by byte, in plain TCP and in TLS."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from exchanges import connection as engine
from exchanges import registry
from exchanges.connection import Connection, Link
from exchanges.venue import KEEP, Budget, Event, Limits, Lost, Ready, Session
from livermore.core.errors import GeoBlocked, RateLimited, RemoteProtocolError, VenueUnavailable
from livermore.core.frame import FrameBatch
from tests.bench.venue_server import framed
from tests.support.budgets import OpenBudget
from tests.support.raw_server import raw_server, receive, self_signed, shake_hands
from tests.support.trades import make
from tests.support.waiting import until

LIMITS = Limits(topics_per_connection=100, messages_per_second=5, connection_lifetime_s=None, silence_s=10.0)
Serve = Callable[[socket.socket], None]


@dataclass
class At:
    """The REST of a venue that lives at one socket address."""

    url: str

    def socket_url(self, natives: Collection[str]) -> str:
        return self.url


@dataclass
class Run:
    """A connection, what it emitted, and the port it goes to."""

    connection: Connection
    batches: list[FrameBatch] = field(default_factory=list)

    @property
    def frames(self) -> list[bytes]:
        return [frame for batch in list(self.batches) for frame in batch.frames]

    def until_ended(self, within_s: float = 5.0) -> object:
        assert self.connection.ended.wait(within_s)
        return self.connection.error


@contextmanager
def connected(
    serve: Serve,
    tls: ssl.SSLContext | None = None,
    session: Callable[..., Session] | None = None,
    connects: Budget | None = None,
) -> Iterator[Run]:
    """Starts a connection of one symbol to the server; at the end both are gone."""
    venue = registry.venue("binance")
    if session is not None:
        venue = replace(venue, session=session)
    with raw_server(serve, tls) as port:
        scheme = "wss" if tls else "ws"
        batches: list[FrameBatch] = []
        rest = At(f"{scheme}://127.0.0.1:{port}/stream")
        link = Link(venue, rest, LIMITS, connects or OpenBudget(), 1, batches.append, lambda: None)  # type: ignore[arg-type]
        run = Run(Connection(link, ["BTCUSDT"]), batches)
        run.connection.start()
        try:
            yield run
        finally:
            run.connection.close()
            run.connection.join(5)
            assert not run.connection.is_alive()


def subscribed(connection: socket.socket) -> None:
    """The handshake and the acknowledgement of the first request."""
    shake_hands(connection)
    _, asked = receive(connection)
    connection.sendall(framed(json.dumps({"result": None, "id": json.loads(asked)["id"]}).encode()))


def stay(connection: socket.socket) -> None:
    """Answer a close frame with another, as RFC 6455 §5.5.1 asks; drop everything else."""
    while True:
        opcode, payload = receive(connection)
        if opcode == 8:
            connection.sendall(b"\x88" + bytes([len(payload)]) + payload)
            return


def some(count: int) -> list[bytes]:
    return [trade.frame() for trade in make(count, ["BTCUSDT"], 1_770_000_000_000, 1)]


# ---- the handshake ---------------------------------------------------------------------------------


def answering(said: bytes) -> Serve:
    def serve(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(said)

    return serve


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"garbage\r\n\r\n",
        b"\x00\xff\xfe\n\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nno colon\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: bm90aGluZw==\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 302 Found\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: nonsense\r\n\r\n",
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 1000\r\n\r\nshort",
        b"HTTP/1.1 403 Forbidden\r\n\r\n",
    ],
)
def test_a_handshake_answered_by_garbage_is_an_unavailable_venue(said):
    with connected(answering(said)) as run:
        error = run.until_ended()
        assert isinstance(error, VenueUnavailable)
        assert run.connection.opened_ns is None


@pytest.mark.parametrize(
    ("status", "header", "wait_s"),
    [
        (429, "Retry-After: 7", 7),
        (418, "Retry-After: 300", 300),
        (429, "Retry-After: Wed, 21 Oct 2026 07:28:00 GMT", 10),
        (418, "X-None: 1", 120),
    ],
)
def test_a_limiter_at_the_handshake_tells_until_when(status, header, wait_s):
    said = f"HTTP/1.1 {status} No\r\n{header}\r\nContent-Length: 0\r\n\r\n".encode()
    connects = OpenBudget()
    with connected(answering(said), connects=connects) as run:
        error = run.until_ended()
        assert isinstance(error, RateLimited)
        assert abs(error.until_ms / 1000 - time.time() - wait_s) < 2
    assert connects.spent == [1], "failed handshakes count"
    assert connects.closed_until_ms == error.until_ms, "and this one stops everybody"


def test_451_at_the_handshake_is_geography():
    with connected(answering(b"HTTP/1.1 451 No\r\nContent-Length: 0\r\n\r\n")) as run:
        assert isinstance(run.until_ended(), GeoBlocked)


def test_a_handshake_without_an_answer_is_broken_off_by_close():
    asked = threading.Event()

    def serve(connection: socket.socket) -> None:
        connection.recv(4096)
        asked.set()
        connection.recv(1)

    with connected(serve) as run:
        assert asked.wait(5)
        run.connection.close()
        assert run.until_ended(1.0) is None


def test_a_handshake_that_never_ends_is_stuck_and_broken_off_as_a_failure(monkeypatch):
    monkeypatch.setattr(engine, "HANDSHAKE_WITHIN_S", 0.3)

    def serve(connection: socket.socket) -> None:
        connection.recv(4096)
        while True:
            connection.sendall(b"x")
            time.sleep(0.01)

    with connected(serve) as run:
        until(run.connection.is_stuck, within_s=2)
        run.connection.close("no handshake")
        assert str(run.until_ended(1.0)) == "no handshake"


# ---- the conversation ------------------------------------------------------------------------------


def test_frames_cut_anywhere_arrive_whole_and_in_order():
    frames = some(300)
    sent = b"".join(map(framed, frames))

    def serve(connection: socket.socket) -> None:
        subscribed(connection)
        for at in range(0, len(sent), 37):
            connection.sendall(sent[at : at + 37])
        stay(connection)

    with connected(serve) as run:
        until(lambda: len(run.frames) == 300)
        assert run.frames == frames
        assert run.connection.frames == 300
        assert run.connection.ready_ns
        assert [b.number for b in run.batches] == list(range(len(run.batches)))


def test_close_says_1000_after_taking_what_had_arrived():
    said: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        subscribed(connection)
        connection.sendall(b"".join(map(framed, some(5))))
        _, payload = receive(connection)
        said.append(payload)
        connection.sendall(b"\x88" + bytes([len(payload)]) + payload)

    with connected(serve) as run:
        until(lambda: run.connection.frames == 5)
        run.connection.close()
        assert run.until_ended(2.0) is None
        assert len(run.frames) == 5, "the last batch leaves at the end"
        until(lambda: said)
        assert said == [(1000).to_bytes(2, "big")]


def test_a_server_that_does_not_answer_the_close_holds_nobody_up():
    gate = threading.Event()

    def serve(connection: socket.socket) -> None:
        subscribed(connection)
        gate.wait(10)

    with connected(serve) as run:
        until(lambda: run.connection.ready_ns)
        began_s = time.monotonic()
        run.connection.close()
        run.until_ended(5.0)
        assert time.monotonic() - began_s < 8.0
        gate.set()


def test_what_came_before_a_close_frame_is_kept():
    def serve(connection: socket.socket) -> None:
        subscribed(connection)
        connection.sendall(b"".join(map(framed, some(3))) + b"\x88\x06" + (1012).to_bytes(2, "big") + b"bye!")
        receive(connection)

    with connected(serve) as run:
        error = run.until_ended()
        assert isinstance(error, VenueUnavailable)
        assert "1012 bye!" in str(error)
        assert len(run.frames) == 3


def test_pings_are_answered_with_their_payload():
    answers: list[tuple[int, bytes]] = []

    def serve(connection: socket.socket) -> None:
        subscribed(connection)
        connection.sendall(b"\x89\x04ping" + b"\x89\x00")
        answers.append(receive(connection))
        answers.append(receive(connection))
        stay(connection)

    with connected(serve) as run:
        until(lambda: len(answers) == 2)
        assert answers == [(10, b"ping"), (10, b"")]
        assert run.connection.frames == 0, "only market data counts"
        assert run.connection.last_frame_ns


@pytest.mark.parametrize("broken", [b"\x81\x85maskhello", b"\xc1\x01x", b"\x80\x01x"])
def test_a_broken_frame_ends_the_connection_and_keeps_what_came_before(broken):
    def serve(connection: socket.socket) -> None:
        subscribed(connection)
        connection.sendall(b"".join(map(framed, some(3))))
        time.sleep(0.1)  # another read, or the whole chunk would be in doubt
        connection.sendall(broken)
        receive(connection)

    with connected(serve) as run:
        assert isinstance(run.until_ended(), RemoteProtocolError)
        assert len(run.frames) == 3


class Suspicious:
    """A session for which every frame is market data that shows a loss."""

    def __init__(self, limits: Limits, natives: Collection[str]) -> None:
        self.followed: list[tuple[str, ...]] = []

    def opened(self, now: int) -> list[Event]:
        return [Ready()]

    def received(self, payload: bytes, now: int) -> list[Event]:
        return [Lost("a hole"), *KEEP]

    def tick(self, now: int) -> list[Event]:
        return []

    def follow(self, natives: Collection[str], now: int) -> list[Event]:
        return []


def test_a_frame_that_shows_a_loss_is_kept_itself():
    def serve(connection: socket.socket) -> None:
        shake_hands(connection)
        connection.sendall(b"".join(map(framed, some(2))))
        stay(connection)

    with connected(serve, session=Suspicious) as run:  # type: ignore[arg-type]
        until(lambda: len(run.frames) == 2)
        assert len(run.connection.losses) == 2


def test_a_bug_in_a_session_costs_the_connection_and_no_frame():
    class Buggy(Suspicious):
        def received(self, payload: bytes, now: int) -> list[Event]:
            if b"stop" in payload:
                raise KeyError("bug")
            return KEEP  # type: ignore[return-value]

    def serve(connection: socket.socket) -> None:
        shake_hands(connection)
        connection.sendall(b"".join(map(framed, some(2))) + framed(b"stop"))
        receive(connection)

    with connected(serve, session=Buggy) as run:  # type: ignore[arg-type]
        assert "KeyError" in str(run.until_ended())
        assert len(run.frames) == 2


# ---- TLS -------------------------------------------------------------------------------------------


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A server's context whose certificate websocket-client trusts, by its own environment variable."""
    certificate, context = self_signed(tmp_path)
    monkeypatch.setenv("WEBSOCKET_CLIENT_CA_BUNDLE", str(certificate))
    return context


def test_frames_arrive_over_tls_through_pauses_and_large_records(tls):
    frames = some(2_000)

    def serve(connection: socket.socket) -> None:
        subscribed(connection)
        connection.sendall(b"".join(map(framed, frames[:1_000])))
        time.sleep(0.3)  # longer than a read waits
        connection.sendall(b"".join(map(framed, frames[1_000:])))
        stay(connection)

    with connected(serve, tls) as run:
        until(lambda: len(run.frames) == 2_000)
        assert run.frames == frames
        run.connection.close()
        assert run.until_ended(2.0) is None


def test_one_frame_in_each_tls_record_arrives_and_in_order(tls):
    """A read of TLS gives one record."""
    frames = some(5_000)

    def serve(connection: socket.socket) -> None:
        subscribed(connection)
        for frame in frames:
            connection.sendall(framed(frame))
        stay(connection)

    with connected(serve, tls) as run:
        until(lambda: len(run.frames) == 5_000)
        assert run.frames == frames


def test_a_tls_connection_may_end_without_a_word(tls):
    def serve(connection: socket.socket) -> None:
        subscribed(connection)
        connection.sendall(b"".join(map(framed, some(10))))

    with connected(serve, tls) as run:
        assert "connection lost" in str(run.until_ended())
        assert len(run.frames) == 10


def test_a_certificate_that_nobody_signed_is_not_trusted(tmp_path):
    _, context = self_signed(tmp_path)
    with connected(shake_hands, context) as run:
        assert "cannot connect" in str(run.until_ended())
