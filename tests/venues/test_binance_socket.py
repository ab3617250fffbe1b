"""An independent witness: python-binance's own socket and REST client read our simulators of both its venues."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest
from binance import AsyncClient, BinanceSocketManager
from binance.ws.reconnecting_websocket import ReconnectingWebsocket

from livermore.core.candle import BUCKET_MS
from livermore.core.trade import Trade
from tests.support.simulation import Running, simulated
from tests.support.waiting import until

VENUES = {"binance": ("com", "BTCUSDT", "ETHUSDT"), "binance_us": ("us", "BTCUSDT", "ETHUSDT")}
START_MS = 1_790_000_100_000  # aligned to five minutes
WITHIN_S = 30.0

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # python-binance's imports


@pytest.fixture(autouse=True)
def _quick_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's reader looks whether it is to end only after so long without a message."""
    monkeypatch.setattr(ReconnectingWebsocket, "TIMEOUT", 0.5)


@pytest.fixture(autouse=True)
def resolved(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every host that was asked for; anything but loopback is refused before a packet leaves."""
    asked: list[str] = []
    resolve = socket.getaddrinfo

    def guarded(host: Any, *rest: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else str(host)
        asked.append(name)
        if name != "127.0.0.1":
            raise socket.gaierror(f"{name} is outside")
        return resolve(host, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", guarded)
    return asked


@asynccontextmanager
async def client(sim: Running, slug: str) -> AsyncIterator[tuple[AsyncClient, BinanceSocketManager]]:
    """The library as a user has it, but for where its venue lives."""
    here = sim.endpoints[slug]

    class Local(AsyncClient):
        API_URL = f"{here['rest']}/api"

    class Streams(BinanceSocketManager):
        STREAM_URL = f"{here['ws']}/"

    rest = await Local.create(tld=VENUES[slug][0])
    try:
        yield rest, Streams(rest, max_queue_size=100_000)
    finally:
        await rest.close_connection()


def newest(sim: Running, slug: str) -> dict[str, int]:
    """The last execution's id of every native."""
    return {n: sim.call(lambda n=n: sim.simulation.market.tape(slug, n).next_id - 1) for n in VENUES[slug][1:]}


def burst(sim: Running, slug: str) -> None:
    """Many trades at once, as soon as the venue knows its listener."""
    connections = sim.simulation.servers[slug].stage.connections
    until(lambda: sim.call(lambda: [c for c in connections if c.notes is not None]))
    sim.call(sim.simulation.burst, 3_000, venues=[slug])


async def heard(
    sim: Running, slug: str, natives: Sequence[str], open_socket: Callable[[BinanceSocketManager], Any]
) -> list[dict[str, Any]]:
    """All messages of a burst, up to the last execution of every native."""
    async with client(sim, slug) as (_, streams), open_socket(streams) as frames:
        await asyncio.to_thread(burst, sim, slug)
        due = {n: number for n, number in newest(sim, slug).items() if n in natives}
        messages: list[dict[str, Any]] = []
        async with asyncio.timeout(WITHIN_S):
            while due:
                messages.append(await frames.recv())
                row = messages[-1].get("data", messages[-1])
                if row["l"] >= due.get(row["s"], row["l"] + 1):
                    del due[row["s"]]
        return messages


def aggregated(executions: Sequence[Trade], row: dict[str, Any]) -> dict[str, Any]:
    """What the venue must say of the executions that `row` claims to bundle."""
    inside = [t for t in executions if row["f"] <= t.id <= row["l"]]
    [price], [time_ns], [is_buy] = ({getattr(t, f) for t in inside} for f in ("price", "time_ns", "is_buy"))
    assert len(inside) == row["l"] - row["f"] + 1
    quantity = sum(Decimal(t.quantity) for t in inside)
    return {"p": Decimal(price), "q": quantity, "T": time_ns // 1_000_000, "m": not is_buy}


def assert_told_truly(sim: Running, slug: str, native: str, after: int, rows: Sequence[dict[str, Any]]) -> None:
    """Every execution since the one with the id `after`, once, in order, to the last digit."""
    executions = [t for t in sim.call(sim.simulation.trades, slug, native) if t.id > after]
    for row in rows:
        said = {"p": Decimal(row["p"]), "q": Decimal(row["q"]), "T": row["T"], "m": row["m"]}
        assert said == aggregated(executions, row)
    assert [n for row in rows for n in range(row["f"], row["l"] + 1)] == [t.id for t in executions]
    assert [row["a"] for row in rows] == list(range(rows[0]["a"], rows[0]["a"] + len(rows)))
    assert any(row["l"] > row["f"] for row in rows), "some bundle several executions"


@pytest.mark.parametrize("slug", VENUES)
def test_the_vendors_socket_hears_exactly_the_simulated_trades(slug: str, resolved: list[str]) -> None:
    native = VENUES[slug][1]
    with simulated(slug, is_paused=True) as sim:
        before = newest(sim, slug)
        rows = asyncio.run(heard(sim, slug, [native], lambda streams: streams.aggtrade_socket(native)))
        assert {(row["e"], row["s"]) for row in rows} == {("aggTrade", native)}
        assert_told_truly(sim, slug, native, before[native], rows)
    assert set(resolved) <= {"127.0.0.1"}


@pytest.mark.parametrize("slug", VENUES)
def test_the_vendors_combined_socket_names_each_stream(slug: str) -> None:
    natives = VENUES[slug][1:]
    names = {f"{n.lower()}@aggTrade": n for n in natives}
    with simulated(slug, is_paused=True) as sim:
        before = newest(sim, slug)
        messages = asyncio.run(heard(sim, slug, natives, lambda streams: streams.multiplex_socket(list(names))))
        assert all(names[m["stream"]] == m["data"]["s"] for m in messages)
        for native in natives:
            rows = [m["data"] for m in messages if m["data"]["s"] == native]
            assert_told_truly(sim, slug, native, before[native], rows)


@pytest.mark.parametrize("slug", VENUES)
def test_the_vendors_client_is_told_the_candle_that_the_trades_make(slug: str) -> None:
    native = VENUES[slug][1]
    with simulated(slug, is_paused=True, start_ms=START_MS) as sim:
        sim.call(sim.simulation.advance, 1.5 * BUCKET_MS / 1000)
        truth = sim.call(sim.simulation.truth, slug, native, START_MS)

        async def run() -> list[list[Any]]:
            async with client(sim, slug) as (rest, _):
                end_ms = START_MS + BUCKET_MS - 1
                return await rest.get_klines(symbol=native, interval="5m", startTime=START_MS, endTime=end_ms)

        [row] = asyncio.run(run())
    assert (row[0], row[6]) == (START_MS, START_MS + BUCKET_MS - 1)
    assert [Decimal(row[n]) for n in (1, 2, 3, 4)] == [truth.open, truth.high, truth.low, truth.close]
    assert (Decimal(row[5]), Decimal(row[7]), row[8]) == (truth.volume, truth.turnover, truth.trades)
    assert Decimal(row[9]) == truth.taker_buy_volume
    assert truth.trades > 100
