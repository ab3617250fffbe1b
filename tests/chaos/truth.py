"""What every candle must be: the simulators' trades, folded here and independently of `candles.fold`."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from decimal import ROUND_DOWN, Decimal
from typing import Any, NamedTuple

import psycopg

from exchanges.simulation.listing import Listing, Print
from livermore.core import keys
from tests.chaos.world import BUCKET_MS, World

LARGER_MS = {"15m": 900_000, "30m": 1_800_000, "1h": 3_600_000, "4h": 14_400_000, "1d": 86_400_000}
FIELDS = ("open", "high", "low", "close", "volume", "trades", "taker_buy_volume", "turnover")
UNTOLD = {
    "binance": frozenset[str](),
    "coinbase": frozenset({"trades", "taker_buy_volume", "turnover"}),
    "kucoin": frozenset({"trades", "taker_buy_volume"}),
    "mexc": frozenset({"trades", "taker_buy_volume"}),
}
"""What a venue's own kline does not tell; a candle that was taken from it leaves just these fields empty."""
CUTS = {"binance"}
"""Their klines cut each trade's quote amount to the quote's precision, and so do our folds."""
SHORTENS = {"mexc"}
"""Their klines cut the bar's whole quote amount."""
UNORDERED = {"mexc"}
"""Their trades' ids have no order: of those of one millisecond anyone may have been the first, or the last."""
NAMES = """
import json
from symbols import services
from symbols.models import ExchangeSymbol
found = []
for slug in {venues}:
    names = services.streamed_names(slug)
    pks = dict(ExchangeSymbol.objects.filter(exchange_id=slug).values_list("native", "pk"))
    found += [[pks[native], slug, native, name] for native, name in names.items()]
print(json.dumps(found))
"""


class Place(NamedTuple):
    """A candle's name; `pk` is its symbol's in the database."""

    pk: int
    timeframe: str
    open_ms: int


class Truth:
    """The candles that must be there, computed once each; `turnover` is the venue's kline's, `exact_turnover` ours."""

    def __init__(self, world: World) -> None:
        self._world = world
        found = world.stack.python(NAMES.format(venues=("binance", "coinbase", "kucoin", "mexc")))
        self.symbols = {pk: (slug, native, name) for pk, slug, native, name in found}
        self._known: dict[tuple[int, int], dict[str, Any]] = {}

    def learn(self, from_ms: int, to_ms: int) -> None:
        """Keep the candles of these buckets: the simulators forget trades after two hours."""
        places = [(pk, open_ms) for pk in self.symbols for open_ms in range(from_ms, to_ms, BUCKET_MS)]
        wanted = [place for place in places if place not in self._known]
        self._known |= self._world.sim.call(lambda: {place: self._five(*place) for place in wanted})

    def _five(self, pk: int, open_ms: int) -> dict[str, Any]:
        slug, native, _ = self.symbols[pk]
        simulation = self._world.sim.simulation
        kline = simulation.truth(slug, native, open_ms)
        tape = simulation.market.tape(slug, native)
        x = tape.listing
        first, last = tape.at_time(open_ms * 1000), tape.at_time((open_ms + BUCKET_MS) * 1000)
        turnover = Decimal(0)
        for p in tape.prints[first:last]:
            amount = Decimal(p.price * p.quantity).scaleb(-x.price_places - x.lot_places)
            turnover += amount.quantize(Decimal(1).scaleb(-x.quote_places), ROUND_DOWN) if slug in CUTS else amount
        told = {name: Decimal(getattr(kline, name)) for name in FIELDS}
        if slug in SHORTENS:
            told["turnover"] = told["turnover"].quantize(Decimal(1).scaleb(-x.price_places), ROUND_DOWN)
        prints = tape.prints[first:last]
        opens, closes = {told["open"]}, {told["close"]}
        if slug in UNORDERED and prints:
            opens = {_price(p, x) for p in prints if p.time_us == prints[0].time_us}
            closes = {_price(p, x) for p in prints if p.time_us == prints[-1].time_us}
        return told | {"exact_turnover": turnover, "opens": opens, "closes": closes}

    def five(self, pk: int, open_ms: int) -> dict[str, Any]:
        """A 5-minute candle."""
        if (pk, open_ms) not in self._known:
            self.learn(open_ms, open_ms + BUCKET_MS)
        return self._known[pk, open_ms]


def _price(one: Print, listing: Listing) -> Decimal:
    return Decimal(one.price).scaleb(-listing.price_places)


class Stored:
    """The deployment's database and hot window, read from outside."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._url = world.stack.environment["DATABASE_URL"]

    def query(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Rows; a connection each time, since the database may have been away."""
        if self._url.startswith("sqlite"):
            connection = sqlite3.connect(self._url.removeprefix("sqlite:///"), timeout=20)
            try:
                return connection.execute(statement, values).fetchall()
            finally:
                connection.close()
        with psycopg.connect(self._url) as connection:
            return connection.execute(statement.replace("?", "%s"), values).fetchall()

    def candles(self, timeframe: str, from_ms: int, to_ms: int) -> dict[Place, dict[str, Any]]:
        """Rows of `candles` that open within the span."""
        columns = (*FIELDS, "source", "quality")
        rows = self.query(
            f"SELECT symbol_id, timeframe, open_ms, {', '.join(columns)} FROM candles "
            "WHERE timeframe = ? AND open_ms >= ? AND open_ms < ?", timeframe, from_ms, to_ms,
        )  # fmt: skip
        return {Place(*row[:3]): dict(zip(columns, row[3:], strict=True)) for row in rows}

    def window(self, truth: Truth, places: Sequence[Place]) -> dict[Place, dict[str, Any]]:
        """Members of the hot window; a place that holds none or several is left out."""
        pipe = self._world.stack.state.pipeline(transaction=False)
        for pk, timeframe, open_ms in places:
            slug, _, name = truth.symbols[pk]
            pipe.zrangebyscore(keys.candles(slug, name, timeframe), open_ms, open_ms)
        return {p: json.loads(m[0]) for p, m in zip(places, pipe.execute(), strict=True) if len(m) == 1}

    def open_gaps(self, before_ms: int) -> list[tuple[Any, ...]]:
        """Gaps that nothing has closed."""
        return self.query(
            "SELECT exchange_id, symbol, cause, from_ns, to_ns FROM gaps WHERE closed_at IS NULL AND from_ns < ?",
            before_ms * 1_000_000,
        )


class Comparison(NamedTuple):
    """`wrong` maps each candle that is missing or differs to how; `gaps` are open ones."""

    total: int
    wrong: dict[str, str]
    gaps: list[tuple[Any, ...]]
    adopted: int

    @property
    def is_equal(self) -> bool:
        return not self.wrong and not self.gaps


def compare(
    truth: Truth, stored: Stored, from_ms: int, to_ms: int, unsure: Iterable[tuple[str, str]] = ()
) -> Comparison:
    """Every candle of every timeframe that touches `[from_ms, to_ms)` and has ended by `to_ms`, against the truth.

    Both in the database and in the hot window. `unsure` are (exchange, field) that nobody could repair.
    """
    truth.learn(from_ms, to_ms)
    wrong: dict[str, str] = {}
    total = adopted = 0
    for timeframe, length_ms in {"5m": BUCKET_MS, **LARGER_MS}.items():
        opens = range(from_ms - from_ms % length_ms, to_ms - length_ms + 1, length_ms)
        if not opens:
            continue
        places = [Place(pk, timeframe, open_ms) for pk in truth.symbols for open_ms in opens]
        rows, members = stored.candles(timeframe, opens[0], to_ms), stored.window(truth, places)
        fives = stored.candles("5m", opens[0], to_ms)
        for place in places:
            slug, _, name = truth.symbols[place.pk]
            expected = _expected(truth, fives, place, length_ms)
            for kind, candle in (("database", rows.get(place)), ("window", members.get(place))):
                how = _difference(slug, candle, expected, set(unsure))
                if how:
                    wrong[f"{slug} {name} {timeframe} {place.open_ms} {kind}"] = how
            total += 1
            adopted += (rows.get(place) or {}).get("source") == "adopted"
    return Comparison(total, wrong, stored.open_gaps(to_ms), adopted)


def _expected(
    truth: Truth, fives: dict[Place, dict[str, Any]], place: Place, length_ms: int
) -> dict[str, set[Decimal]]:
    parts = []
    for open_ms in range(place.open_ms, place.open_ms + length_ms, BUCKET_MS):
        part = dict(truth.five(place.pk, open_ms))
        # Which of the two turnovers it is: our own until the venue's kline was compared, or taken.
        stored = (fives.get(Place(place.pk, "5m", open_ms)) or {}).get("turnover")
        is_told = stored is not None and Decimal(str(stored)) == part["turnover"]
        part["stored_turnover"] = part["turnover" if is_told else "exact_turnover"]
        parts.append(part)
    # An interval without trades is flat at the close before it, and says nothing of a larger one that has some.
    lively = [part for part in parts if part["volume"]] or parts
    return {
        "open": lively[0]["opens"],
        "close": lively[-1]["closes"],
        "high": {max(part["high"] for part in lively)},
        "low": {min(part["low"] for part in lively)},
        **{name: {sum(p[name] for p in parts)} for name in ("volume", "trades", "taker_buy_volume")},
        "turnover": {sum(p["stored_turnover"] for p in parts), sum(p["turnover"] for p in parts)},
    }


def _difference(
    slug: str, candle: dict[str, Any] | None, expected: dict[str, set[Decimal]], unsure: set[tuple[str, str]]
) -> str:
    if candle is None:
        return "missing"
    kind, found = f"({candle['source']} {candle['quality']})", []
    for name in FIELDS:
        value = candle[name]
        if (slug, name) in unsure:
            continue
        if value is None:
            if candle["source"] == "trades" or name not in UNTOLD[slug]:
                found.append(f"no {name}")
        elif Decimal(str(value)) not in expected[name]:
            found.append(f"{name} {value} is not {' or '.join(map(str, expected[name]))}")
    return f"{', '.join(found)} {kind}" if found else ""
