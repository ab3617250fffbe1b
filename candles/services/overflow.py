"""Upkeep of the hot windows' places: series follow their symbols into the shared pool and out of it."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from candles import pool, window
from candles.models import Candle as CandleRow
from exchanges.models import Exchange
from exchanges.state import state_redis, unavailable
from livermore.core import keys
from livermore.core.candle import BASE_TIMEFRAME, Candle, Timeframe
from livermore.logs import event
from symbols.models import ExchangeSymbol, UserSymbolSubscription

log = logging.getLogger(__name__)

_WHOLE = (0, 2**53)


@dataclass(slots=True)
class Settled:
    """Keys that were moved into the pool, out of it, left to expire, kept alive, and filled from the table."""

    promoted: int = 0
    demoted: int = 0
    left: int = 0
    kept: int = 0
    filled: int = 0


@unavailable()
def settle(exchange: str) -> Settled:
    """Put every series of an exchange where its symbol belongs now, and keep alive what is still followed.

    A symbol that entered the shared pool takes its followers' bars there; one that left it leaves its bars with
    those who still follow, or for a day where nobody does. A crash half way is made good by the next call.
    """
    timeframes = _timeframes(exchange)
    shared = pool.shared(exchange)
    names = set(ExchangeSymbol.objects.filter(exchange_id=exchange).values_list("name", flat=True))
    followers = _followers(exchange, names - shared)
    done = Settled()
    _stay(exchange, shared, timeframes)
    _promote(exchange, shared, timeframes, done)
    _demote(exchange, names - shared, followers, timeframes, done)
    _keep(exchange, followers, timeframes, done)
    if done.promoted or done.demoted or done.left or done.filled:
        event(log, "overflow.settled", exchange=exchange, **asdict(done))
    return done


def _timeframes(exchange: str) -> list[Timeframe]:
    """5m last: a series whose 5m candles are still to be moved is found again."""
    found = Exchange.objects.filter(pk=exchange).values_list("timeframes", flat=True).first() or []
    return sorted(map(Timeframe, found), key=lambda t: (t is BASE_TIMEFRAME, t.ms))


def _followers(exchange: str, names: Collection[str]) -> dict[str, tuple[int, ...]]:
    places = pool.places((exchange, name) for name in names)
    return {name: place.followers for (_, name), place in places.items() if place.followers}


def _stay(exchange: str, shared: Iterable[str], timeframes: Sequence[Timeframe]) -> None:
    """What left the pool and came back within the day does not expire."""
    pipe = state_redis().pipeline(transaction=False)
    for name in sorted(shared):
        for timeframe in timeframes:
            pipe.persist(keys.candles(exchange, name, timeframe))
    pipe.execute()


def _promote(exchange: str, shared: Collection[str], timeframes: Sequence[Timeframe], done: Settled) -> None:
    """The overflow of whoever follows or followed a symbol that is in the pool now."""
    rows = UserSymbolSubscription.objects.filter(symbol__exchange_id=exchange, symbol__name__in=shared)
    for user, name in set(rows.values_list("user_id", "symbol__name")):
        series = [(keys.user_candles(user, exchange, name, t), name, t) for t in timeframes]
        for key in _there([key for key, *_ in series]):
            window.restore(_candles(key))
            # What is written there from now on is written to the pool as well (`window.put` looks twice).
            done.promoted += state_redis().unlink(key)


def _demote(
    exchange: str,
    names: Collection[str],
    followers: Mapping[str, Collection[int]],
    timeframes: Sequence[Timeframe],
    done: Settled,
) -> None:
    found = _there([keys.candles(exchange, name, BASE_TIMEFRAME) for name in sorted(names)])
    gone = [key for name in found if (key := keys.parse_candles(name)) is not None]
    for key in gone:
        for shared in _there([keys.candles(exchange, key.symbol, timeframe) for timeframe in timeframes]):
            if key.symbol in followers:
                window.restore(_candles(shared))
                done.demoted += state_redis().unlink(shared)
            elif state_redis().ttl(shared) < 0:
                done.left += bool(state_redis().expire(shared, window.OVERFLOW_S))


def _keep(
    exchange: str, followers: Mapping[str, Collection[int]], timeframes: Sequence[Timeframe], done: Settled
) -> None:
    """Live subscriptions keep their keys; who has none yet gets it from the table."""
    wanted = [
        (keys.user_candles(user, exchange, name, timeframe), name, timeframe)
        for name, users in followers.items()
        for user in users
        for timeframe in timeframes
    ]
    pipe = state_redis().pipeline(transaction=False)
    for key, *_ in wanted:
        pipe.expire(key, window.OVERFLOW_S)
    kept = pipe.execute()
    done.kept += sum(map(bool, kept))
    for name, timeframe in {(name, t) for (_, name, t), is_there in zip(wanted, kept, strict=True) if not is_there}:
        rows = CandleRow.objects.of(exchange, name, str(timeframe))[: window.KEPT]
        done.filled += bool(window.restore([row.value(exchange, name) for row in rows]))


def _there(names: Sequence[str]) -> list[str]:
    pipe = state_redis().pipeline(transaction=False)
    for name in names:
        pipe.exists(name)
    return [name for name, found in zip(names, pipe.execute(), strict=True) if found]


def _candles(key: str) -> list[Candle]:
    return [Candle.from_json(member) for member in state_redis().zrangebyscore(key, *_WHOLE)]
