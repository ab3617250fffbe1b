"""What the state Redis holds, by the shape of its keys, and the orphans: keys of what does not exist any more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from django.contrib.auth import get_user_model

from candles import pool
from candles.legacy_models import LegacyMigration, Mode
from exchanges.models import Exchange
from exchanges.state import state_redis, unavailable
from livermore.core.candle import Timeframe
from livermore.core.key_owners import Owner, owner
from symbols.models import ExchangeSymbol, UserSymbolSubscription

SCANNED = 1_000
WEIGHED = 50
"""So many keys of a shape are weighed; the others are taken to be like them."""
_TIMEFRAMES = frozenset(map(str, Timeframe))


class Orphan(NamedTuple):
    """A key, and why nobody needs it."""

    key: str
    why: str


@dataclass(slots=True)
class Audit:
    """Keys by shape, their bytes as estimated from some of each, and the orphans. `unknown` fit no shape of ours."""

    keys: Counter[str] = field(default_factory=Counter)
    bytes: Counter[str] = field(default_factory=Counter)
    orphans: list[Orphan] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


class Known(NamedTuple):
    """What the database says there is."""

    exchanges: frozenset[str]
    symbols: frozenset[tuple[str, str]]
    shared: frozenset[tuple[str, str]]
    users: frozenset[str]
    followed: frozenset[tuple[str, str, str]]
    numbers: Mapping[str, tuple[str, str]]


@unavailable()
def audit() -> Audit:
    """Look at every key, on every master of a Cluster; nothing is changed."""
    found = Audit()
    known = _known()
    weighed: Counter[str] = Counter()
    some: list[tuple[str, Owner]] = []
    for name in state_redis().scan_iter(count=SCANNED):
        key = name.decode(errors="replace")
        of = owner(key)
        if of is None:
            found.unknown.append(key)
            continue
        found.keys[of.shape] += 1
        some.append((key, of))
        if len(some) == SCANNED:
            _judge(some, known, found, weighed)
            some = []
    _judge(some, known, found, weighed)
    for shape, weight in found.bytes.items():
        found.bytes[shape] = weight * found.keys[shape] // weighed[shape]
    return found


def _known() -> Known:
    exchanges = frozenset(Exchange.objects.values_list("pk", flat=True))
    live = UserSymbolSubscription.objects.live().values_list("user_id", "symbol__exchange_id", "symbol__name")
    return Known(
        exchanges=exchanges,
        symbols=frozenset(ExchangeSymbol.objects.values_list("exchange_id", "name")),
        shared=frozenset((slug, name) for slug in exchanges for name in pool.shared(slug)),
        users=frozenset(map(str, get_user_model().objects.values_list("pk", flat=True))),
        followed=frozenset((str(user), slug, name) for user, slug, name in live),
        numbers={str(n): (slug, mode) for slug, n, mode in LegacyMigration.objects.values_list("pk", "number", "mode")},
    )


def _judge(some: Sequence[tuple[str, Owner]], known: Known, found: Audit, weighed: Counter[str]) -> None:
    pipe = state_redis().pipeline(transaction=False)
    for key, _ in some:
        pipe.ttl(key)
    lives = pipe.execute()
    for (key, of), life_s in zip(some, lives, strict=True):
        why = _why(of, known, stays=life_s == -1)
        if why and life_s != -2:
            found.orphans.append(Orphan(key, why))
        if weighed[of.shape] < WEIGHED:
            weighed[of.shape] += 1
            found.bytes[of.shape] += state_redis().memory_usage(key) or 0


def _why(of: Owner, known: Known, *, stays: bool) -> str:
    """Why nobody needs a key of this owner; nothing where somebody may. `stays`: it does not expire by itself."""
    parts = of.parts
    exchange, symbol = parts.get("exchange"), parts.get("symbol")
    if "number" in parts:
        exchange, mode = known.numbers.get(parts["number"], (None, ""))
        if exchange is None:
            return "unknown exchange number"
        return "the exchange's migration is done" if mode == Mode.DONE else ""
    if exchange is not None and exchange not in known.exchanges:
        return "unknown exchange"
    if symbol is not None and (exchange, symbol) not in known.symbols:
        return "unknown symbol"
    if parts.get("timeframe", "5m") not in _TIMEFRAMES:
        return "no such timeframe"
    if "user" in parts:
        if parts["user"] not in known.users:
            return "unknown user"
        if (parts["user"], exchange, symbol) not in known.followed:
            return "its user does not follow it any more"
        return ""
    if stays and of.shape.startswith("candles:") and (exchange, symbol) not in known.shared:
        return "not in the shared pool"
    return ""
