"""The budget of connection attempts: shared, kept by streams in a crash loop, and never in the way of REST."""

from __future__ import annotations

import socket
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import redis

from exchanges import ratelimit, registry, services, slot
from exchanges.ratelimit import CONNECT_WINDOW_S, SharedBudget
from exchanges.stream import Stream
from exchanges.venue import Budget, Limits
from livermore.core.errors import RateLimited
from tests.support import builders
from tests.support.budgets import OpenBudget
from tests.support.raw_server import raw_server
from tests.support.waiting import until

LIMITS = Limits(topics_per_connection=1, messages_per_second=5, connection_lifetime_s=None, silence_s=10.0)
STREAMS, PER_WINDOW = 10, 30


@dataclass
class At:
    """The REST of a venue that lives at one socket address."""

    url: str

    def socket_url(self, natives: Collection[str]) -> str:
        return self.url

    def time_ms(self) -> int:
        return time.time_ns() // 1_000_000


@dataclass
class Clock:
    """Stands in for the module `time` of the budget; passes only when told."""

    now_ns: int = 1_790_000_000 * 1_000_000_000

    def time_ns(self) -> int:
        return self.now_ns


def budget() -> SharedBudget:
    return SharedBudget("toy", PER_WINDOW, CONNECT_WINDOW_S, kind="connects", patience_s=0)


@contextmanager
def crash_looping(port: int, connects: list[Budget]) -> Iterator[list[Stream]]:
    """Streams that connect again and again, each with a budget of its own object."""
    streams = [
        Stream(
            registry.venue("binance"), At(f"ws://127.0.0.1:{port}/"), LIMITS, ["BTCUSDT"],  # type: ignore[arg-type]
            connects=each, epoch=1, publish=lambda _: None, report=lambda _: None, names={"BTCUSDT": "BTC-USDT"},
        )
        for each in connects
    ]  # fmt: skip
    with ExitStack() as ends:
        for stream in streams:
            stream.start()
            ends.callback(stream.stop, 2.0)
        yield streams


@pytest.fixture
def arrivals() -> list[int]:
    return []


@pytest.fixture
def port(arrivals: list[int], monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A server that ends every handshake; the streams hardly wait between two attempts."""
    monkeypatch.setattr(slot, "BACKOFF_CAP_S", 0.02)

    def refuse(connection: socket.socket) -> None:
        arrivals.append(1)
        connection.recv(4096)

    with raw_server(refuse) as listening:
        yield listening


def failures(streams: list[Stream]) -> int:
    return sum(stream.snapshot().errors for stream in streams)


def test_ten_streams_in_a_crash_loop_stay_within_one_budget(
    port: int, arrivals: list[int], redis_state: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(ratelimit, "time", clock)
    with crash_looping(port, [budget() for _ in range(STREAMS)]) as streams:
        for _ in range(CONNECT_WINDOW_S // 10 - 1):
            clock.now_ns += 10 * 1_000_000_000
            tried = failures(streams)
            until(lambda tried=tried: failures(streams) > tried + STREAMS)
    assert PER_WINDOW * 0.6 < len(arrivals) <= PER_WINDOW
    assert failures(streams) > 8 * PER_WINDOW, "they would have liked more"


def test_without_a_budget_the_same_streams_connect_far_more_often(port: int, arrivals: list[int]) -> None:
    with crash_looping(port, [OpenBudget() for _ in range(STREAMS)]):
        until(lambda: len(arrivals) > 3 * PER_WINDOW)


def test_a_stream_goes_on_connecting_when_the_counter_is_away(
    port: int, arrivals: list[int], settings: Any
) -> None:
    settings.STATE_REDIS_URL = "redis://127.0.0.1:1/0"
    with crash_looping(port, [budget()]):
        until(lambda: len(arrivals) >= 2)


@pytest.mark.django_db
def test_the_rows_figure_is_what_counts_and_rest_is_counted_apart(
    redis_state: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ratelimit, "time", Clock(time.time_ns()))  # no slot ends during the test
    builders.exchange("toy", connects_per_5min=20)
    connects = services.connects("toy")
    connects.spend(1)
    connects.spend(1)
    began_s = time.monotonic()
    with pytest.raises(RateLimited, match="its connects budget is used up") as refused:
        connects.spend(1)
    assert time.monotonic() - began_s < 10, "whoever connects does not wait here"
    assert refused.value.until_ms / 1000 - time.time() <= CONNECT_WINDOW_S / 9 + 1
    services.budget("toy").spend(1)
    connects.close(int(time.time() * 1000) + 600_000)
    services.budget("toy").spend(1)
    services.budget("toy").close(int(time.time() * 1000) + 600_000)
    with pytest.raises(RateLimited):
        services.budget("toy").spend(1)
