"""Which markets a page or a caller means, and the nearest ones when it means none."""

from __future__ import annotations

import difflib

from django.db.models import Count, Min, QuerySet

from exchanges.models import Exchange
from livermore.core.candle import Timeframe
from livermore.core.errors import LivermoreError
from symbols.choosing import UnknownSymbol, named
from symbols.models import ExchangeSymbol

# Of an exchange's markets of one base, the chart shows the one most people trade.
_QUOTES = ("USDT", "USD", "USDC")
BASES_SHOWN = 300


class Unknown(LivermoreError):
    """A name that cannot be; `nearest` are the valid names most like it."""

    def __init__(self, code: str, message: str, nearest: list[str]) -> None:
        super().__init__(message)
        self.code = code
        self.nearest = nearest


def nearest(name: str, names: list[str], count: int = 3) -> list[str]:
    """The `count` names most like `name`, best first, whatever the distance."""
    wanted = name.upper()
    alike = difflib.get_close_matches(wanted, names, n=count, cutoff=0.0)
    return alike if alike else names[:count]


def timeframe(text: str) -> Timeframe:
    """Raises `Unknown` with the nearest timeframes."""
    try:
        return Timeframe(text)
    except ValueError:
        message = f"timeframe {text!r} does not exist; accepted: {' '.join(Timeframe)}"
        raise Unknown("unknown_timeframe", message, _nearest_timeframes(text)) from None


def exchange(slug: str) -> Exchange:
    """Raises `Unknown` with the nearest exchanges."""
    row = Exchange.objects.filter(slug=slug).first()
    if row is None:
        slugs = list(Exchange.objects.values_list("slug", flat=True))
        near = difflib.get_close_matches(slug.lower(), slugs, n=3, cutoff=0.0)
        raise Unknown("unknown_exchange", f"there is no exchange {slug!r}", near)
    return row


def market(slug: str, name: str) -> ExchangeSymbol:
    """The market that a name means, however it is written; raises `Unknown` with the three nearest."""
    row = exchange(slug)
    try:
        return named(row.slug, name)
    except UnknownSymbol as error:
        raise Unknown("unknown_symbol", str(error), error.nearest) from None


def bases() -> list[str]:
    """Bases to choose from: listed by most exchanges first, then by rank."""
    counted = (
        ExchangeSymbol.objects.trading()
        .order_by()
        .values("base")
        .annotate(venues=Count("exchange", distinct=True), best=Min("rank"))
    )
    ranked = sorted(counted, key=lambda b: (-b["venues"], b["best"] or 10**9, b["base"]))
    return [b["base"] for b in ranked[:BASES_SHOWN]]


def of_base(base: str) -> list[ExchangeSymbol]:
    """One market per exchange that lists `base`, in the order of the exchanges."""
    listed: QuerySet[ExchangeSymbol] = ExchangeSymbol.objects.trading().filter(base=base.upper())
    chosen: dict[str, ExchangeSymbol] = {}
    for symbol in sorted(listed.select_related("exchange"), key=_preference):
        chosen.setdefault(symbol.exchange_id, symbol)
    return [chosen[slug] for slug in sorted(chosen)]


def _preference(symbol: ExchangeSymbol) -> tuple[int, int, int, str]:
    quote = _QUOTES.index(symbol.quote) if symbol.quote in _QUOTES else len(_QUOTES)
    return (symbol.tier or 9, quote, symbol.rank or 10**9, symbol.name)


def _nearest_timeframes(text: str) -> list[str]:
    """The existing timeframes nearest in length; by spelling when the text has no length."""
    known = list(Timeframe)
    number, unit = text[:-1], text[-1:].lower()
    minutes = {"m": 1, "h": 60, "d": 1440, "w": 10080}.get(unit)
    if minutes is None or not number.isdigit():
        return [str(t) for t in known[:3]]
    wanted_ms = int(number) * minutes * 60_000
    return [str(t) for t in sorted(known, key=lambda t: abs(t.ms - wanted_ms))[:3]]
