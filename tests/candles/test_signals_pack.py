"""The scenario pack of signals.md §4.8, 14 of 14: ticks in a real Redis, every kind evaluated, exact events."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace

import pytest
import redis

from candles.services import section, signal_memory, signals, standings
from exchanges.models import Exchange
from livermore.core import keys
from tests.candles.market import PAST_S, START_MS, Path, Venue, ramp
from tests.candles.streaming import streamed
from tests.support import builders

pytestmark = pytest.mark.django_db

TURNOVER = {"coinbase": 900, "binance": 800, "binance_us": 100, "kucoin": 90, "mexc": 80}
QUOTES = {"coinbase": "USD", "binance_us": "USD", "binance": "USDT", "kucoin": "USDT", "mexc": "USDT"}
STILL = ramp(64_000, 0, 0, 1)
TETHER = Venue("coinbase", lambda at_s: 0.9992, symbol="USDT-USD")


@pytest.fixture(autouse=True)
def _listed(redis_state):
    section._listings.cache_clear()
    for slug, turnover in TURNOVER.items():
        at, name = Exchange.objects.get(pk=slug), f"BTC-{QUOTES[slug]}"
        builders.symbol(at, name, native=name, rank=1, turnover_usd_24h=turnover)
    builders.symbol(Exchange.objects.get(pk="coinbase"), "USDT-USD", native="USDT-USD")


def at(exchange: str, path: Path, tether: Path = lambda at_s: 0.9992) -> Venue:
    """A venue whose path is in dollars; where it quotes in tethers the price is that many."""
    quote = QUOTES[exchange]

    def priced(at_s: float) -> float | None:
        dollars, rate = path(at_s), tether(at_s)
        return dollars if dollars is None or rate is None or quote == "USD" else dollars / rate

    return Venue(exchange, priced, symbol=f"BTC-{quote}")


def usual(*venues: Venue) -> None:
    """These markets have stood together all day, give or take two bps."""
    day = {5 * n: 64_000 * (1 + (n % 5 - 2) * 2e-4 * 0.5) for n in range(288)}
    flat = dict.fromkeys(day, 64_000.0)
    names = sorted(f"{v.exchange}:{v.symbol}" for v in venues if v.symbol.startswith("BTC"))
    standings.learn("BTC", {name: day if n % 2 else flat for n, name in enumerate(names)})


class Pack:
    """One scenario under way: venues trade, everything is evaluated, and what was published is read back."""

    def __init__(self, client: redis.Redis, *venues: Venue, atr_bps: float = 30.0) -> None:
        self.client, self.venues, self.atr_bps = client, venues, atr_bps
        usual(*venues)

    def play(self, moments_s: Iterable[float]) -> Pack:
        """Let it come to each of these moments."""
        for at_s in moments_s:
            now_ms = START_MS + int(at_s * 1000)
            for venue in self.venues:
                self._show(venue, now_ms)
            self.client.zadd(keys.touched(), {"BTC": now_ms, "USDT": now_ms})
            signals.evaluate(now_ms)
        return self

    def _show(self, venue: Venue, now_ms: int) -> None:
        market = venue.market(now_ms)
        if market is None:
            return
        leg, place = market.leg, (venue.exchange, venue.symbol)
        streamed(self.client, venue.exchange, since_ms=START_MS - PAST_S * 1000)
        if venue.clock.uncertainty_ms is not None:
            known = {"clock_offset_ms": venue.clock.offset_ms, "clock_uncertainty_ms": venue.clock.uncertainty_ms}
            self.client.hset(keys.stream(venue.exchange), mapping={**known, "clock_measured_ms": now_ms})
        price = float(leg.price)
        quote = f"{leg.price}|{leg.event_ms}|{leg.received_ms}|{price * 0.99995}|{price * 1.00005}"
        self.client.hset(keys.quotes(leg.base), "|".join(place), quote)
        is_new = not self.client.exists(keys.trail(*place))
        points = {at // 1000 % 720: f"{at}|{price}" for at, price in (market.trail if is_new else market.trail[-12:])}
        self.client.hset(keys.trail(*place), mapping=points)
        macdv = {"atr": price * self.atr_bps / 1e4, "close": price, "converged": True}
        self.client.set(keys.indicator(*place, "5m", "macdv"), json.dumps(macdv))

    @property
    def events(self) -> list[dict]:
        """What was published."""
        return [json.loads(fields[b"event"]) for _, fields in self.client.xrange(keys.signals_stream())]

    @property
    def told(self) -> list[tuple[str, ...]]:
        """Openings and closings: phase or outcome, kind, the two exchanges, window."""
        return [
            (
                e.get("outcome", e["phase"]), e["kind"], e["leader"]["exchange"],
                (e["follower"] or {}).get("exchange", ""), str(e["window_s"]),
            )
            for e in self.events
            if e["phase"] != "updated"
        ]  # fmt: skip

    @property
    def reasons(self) -> set[str]:
        """Why others were not."""
        return set(signal_memory.counts())


def every(step_s: float, from_s: float, to_s: float) -> list[float]:
    return [from_s + step_s * n for n in range(int((to_s - from_s) / step_s))]


def lead(outcome: str, window_s: int = 60) -> tuple[str, ...]:
    return (outcome, "LEADER_MOVE", "coinbase", "binance_us", str(window_s))


def test_l1_a_clean_lead(redis_state) -> None:
    venues = at("coinbase", ramp(64_000, 24, 20, 60)), at("binance_us", ramp(64_000, 24, 66, 76))
    pack = Pack(redis_state, *venues, atr_bps=20).play(every(1, 45, 85))
    assert pack.told == [lead("opened"), lead("converged")]
    assert pack.reasons == set()


def test_l2_both_move_together(redis_state) -> None:
    venues = at("coinbase", ramp(64_000, 80, 20, 22)), at("binance_us", ramp(64_000, 80, 20.5, 22.5))
    assert Pack(redis_state, *venues).play(every(0.25, 18, 40)).told == []


def test_l3_a_leaders_spike_that_reverts(redis_state) -> None:
    up, back = ramp(64_000, 24, 20, 22), ramp(64_000 * 1.0024, -23.94, 30, 32)
    venues = at("coinbase", lambda at_s: up(at_s) if at_s < 30 else back(at_s)), at("binance_us", STILL)
    pack = Pack(redis_state, *venues, atr_bps=20).play(every(1, 18, 60))
    assert sorted(pack.told) == sorted(lead(phase, w) for phase in ("opened", "reversed") for w in (15, 60))


def test_l4_a_stale_follower(redis_state) -> None:
    stale = at("binance_us", lambda at_s: 64_000 if at_s < -20 else None)
    pack = Pack(redis_state, at("coinbase", ramp(64_000, 30, 20, 40)), stale).play(every(1, 15, 50))
    assert (pack.told, pack.reasons) == ([], {"stale_follower"})


def test_g1_a_gap_with_the_tether_at_9992(redis_state) -> None:
    """One of three is cheap, in tethers: the dollar market and the other tether market both stand above it."""
    cheap = lambda at_s: (ramp(64_000, -45, -250, 150)(at_s) if at_s < 20 else ramp(63_805.6, 30.5, 20, 170)(at_s))  # noqa: E731
    venues = at("coinbase", STILL), at("binance", STILL), at("mexc", cheap)
    pack = Pack(redis_state, *venues, TETHER).play([*every(1, -35, 0), *every(4, 0, 180)])
    phases, rich = ("opened", "converged"), ("binance", "coinbase")
    gaps = [(phase, "PRICE_GAP", leader, "mexc", "0") for phase in phases for leader in rich]
    assert sorted(pack.told) == sorted(gaps)
    mixed = next(e for e in pack.events if e["leader"]["exchange"] == "coinbase")
    assert (mixed["follower"]["usd_rate"], mixed["leader"]["usd_rate"]) == ("0.9992", "1")
    numbers = {name: float(mixed["metrics"][name]) for name in ("gap_bps_normalised", "gap_bps_raw", "gap_excess_bps")}
    assert numbers["gap_bps_raw"] == pytest.approx(numbers["gap_bps_normalised"] - 8, abs=0.1)
    assert 25 <= numbers["gap_excess_bps"] < 27


def test_g2_a_depeg_without_a_real_gap(redis_state) -> None:
    """I19: 0.9940 for a minute is one event; not one gap is made of it, neither on the way out nor back."""
    rate: Path = lambda at_s: 0.994 if 20 <= at_s < 130 else 1.0  # noqa: E731
    venues = [at(name, STILL, rate) for name in ("coinbase", "binance", "mexc")]
    tether = Venue("coinbase", rate, symbol="USDT-USD")
    pack = Pack(redis_state, *venues, tether).play([*every(1, 15, 60), *every(5, 60, 180), *every(20, 180, 510)])
    assert [of[:2] for of in pack.told] == [("opened", "STABLE_DEPEG"), ("converged", "STABLE_DEPEG")]
    opened, closed = (e for e in pack.events if e["phase"] != "updated")
    assert (opened["base"], opened["direction"], opened["metrics"]["severity"]) == ("USDT", "down", "notice")
    assert (opened["metrics"]["usd_rate"], opened["follower"]) == ("0.994", None)
    assert closed["evaluated_ms"] - START_MS >= 460_000
    assert pack.reasons == {"basis_depeg"}


def test_g3_a_ticker_collision_times_forty(redis_state) -> None:
    venues = at("coinbase", STILL), at("binance", STILL), at("mexc", lambda at_s: 64_000 * 40)
    pack = Pack(redis_state, *venues, TETHER).play(every(0.5, 0, 20))
    assert (pack.told, pack.reasons) == ([], {"identity_unsure"})
    alerts = [json.loads(fields[b"event"]) for _, fields in redis_state.xrange(keys.alerts_stream())]
    assert [(alert["kind"], alert["exchange"]) for alert in alerts] == [("identity_unsure", "mexc")]


def test_g4_a_gap_that_trembles_around_the_threshold(redis_state) -> None:
    """I22: 120 crossings a minute."""
    rise = ramp(64_000, 25, -400, 0)
    shaken: Path = lambda at_s: (rise(at_s) or 0) * (1 + (4e-4 if round(2 * at_s) % 2 else -4e-4) * (at_s >= 0))  # noqa: E731
    pack = Pack(redis_state, at("coinbase", shaken), at("binance_us", STILL)).play(every(0.5, -2, 30))
    sizes = [round((shaken(n / 2) or 0) / 6.4 - 10_000) for n in range(60)]
    assert {size >= 25 for size in sizes} == {True, False}
    assert pack.told == [("opened", "PRICE_GAP", "coinbase", "binance_us", "0")]


def test_c1_confluence_of_three_of_five(redis_state) -> None:
    movers = {"coinbase": 20, "binance": 22, "binance_us": 30}
    venues = [at(name, ramp(64_000, 23, since, since + 60)) for name, since in movers.items()]
    venues += [at("kucoin", STILL), at("mexc", STILL)]
    pack = Pack(redis_state, *venues, TETHER).play(every(2, 60, 100))
    assert [(phase, kind) for phase, kind, *_ in pack.told] == [("opened", "CONFLUENCE")]
    assert pack.events[0]["metrics"]["venues"] == ["coinbase", "binance", "binance_us"]


def test_v1_a_frozen_venue(redis_state) -> None:
    """It is told, and holds back whatever else could be said of it."""
    frozen: Path = lambda at_s: ramp(64_000, 30, 20, 170)(at_s) if at_s < 10 or at_s >= 190 else None  # noqa: E731
    venues = [at(name, ramp(64_000, 30, 20, 170)) for name in ("coinbase", "binance", "binance_us", "mexc")]
    pack = Pack(redis_state, *venues, at("kucoin", frozen), TETHER).play(every(2, 100, 210))
    told = [(phase, kind, follower) for phase, kind, _, follower, _ in pack.told]
    assert told == [("opened", "VENUE_STALE", "kucoin"), ("converged", "VENUE_STALE", "kucoin")]
    assert pack.reasons == {"stale_follower"}
    held = signal_memory.held(100)
    assert {entry["follower"]["exchange"] for entry in held} == {"kucoin"}


def test_t1_a_clock_three_seconds_off(redis_state) -> None:
    """Known, it costs nothing and makes no leader; unknown, it is refused."""
    same = ramp(64_000, 80, 20, 21)
    ahead = replace(at("binance_us", same), clock_error_ms=3_000)
    known = replace(ahead, clock=replace(ahead.clock, offset_ms=3_000, uncertainty_ms=20))
    pack = Pack(redis_state, at("coinbase", same), known).play(every(0.5, 18, 35))
    assert (pack.told, pack.reasons) == ([], set())
    redis_state.flushdb()
    pack = Pack(redis_state, at("coinbase", same), ahead).play(every(0.5, 18, 35))
    assert pack.told == []
    assert pack.reasons <= {"clock_uncertain"}


def test_r1_replayed_twice_gives_identical_ids(redis_state) -> None:
    """Three kinds, looked at from other instants: the same ids, and the same rows."""
    venues = [at(name, ramp(64_000, 62, since, since + 8)) for name, since in (("coinbase", 20), ("binance", 22))]
    venues += [at("kucoin", ramp(64_000, 62, 21, 29)), at("mexc", ramp(64_000, 62, 45, 47))]
    found = []
    for first_s in (18, 18.1):
        redis_state.flushdb()
        pack = Pack(redis_state, *venues, TETHER).play(every(1, first_s, 60))
        found.append({e["event_id"]: (e["kind"], e["onset_ms"]) for e in pack.events if e["phase"] == "opened"})
    assert found[0] == found[1]
    assert {kind for kind, _ in found[0].values()} == {"LEADER_MOVE", "PRICE_GAP", "CONFLUENCE"}
