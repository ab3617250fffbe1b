"""Files of holdings: CSV with a line for each asset or symbol, all checked before any is taken.

    asset,amount          symbol
    BTC,0.5               ETH-USDT
    SOL,

What a file names is followed, however little it is. The next file of the same user and exchange replaces it: what that
one no longer names is followed for `GRACE` more.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from typing import Any

from django.db import transaction
from django.utils import timezone

from livermore.core.errors import InvalidInput
from livermore.core.exact import CEILING
from symbols import positions
from symbols.choosing import UnknownSymbol, named
from symbols.models import ExchangeSymbol, Position
from symbols.ranking import CASH, DOLLAR_COINS

MOST_BYTES = 1 << 20
MOST_LINES = 10_000
_HEADS = "asset or symbol, and perhaps amount"
_LONGEST_ASSET = 32
_NEAREST = 3


class InvalidFile(InvalidInput):
    """`errors` are the lines at fault, each with its number and what is accepted; the message is the first."""

    def __init__(self, errors: list[str]) -> None:
        more = f" (and {len(errors) - 1} more lines)" if len(errors) > 1 else ""
        super().__init__(errors[0] + more)
        self.errors = errors


@dataclass(frozen=True, slots=True)
class Holding:
    """A line: the asset, how much of it (None: not told), and the market to follow (None for cash)."""

    asset: str
    amount: Decimal | None
    symbol: ExchangeSymbol | None


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of a file: positions, how many of them are followed, and former ones that now have a day left."""

    positions: int
    followed: int
    leaving: int


def load(user: Any, exchange: str, raw: bytes, *, expires_at: datetime | None = None) -> Imported:
    """Take a file in, followed until `expires_at` (None: until another file). Raises `InvalidInput`, of which
    `InvalidFile`; nothing is taken then."""
    if expires_at is not None and expires_at <= timezone.now():
        raise InvalidInput(f"the end {expires_at:%Y-%m-%d %H:%M} is past; accepted: a later one, or none")
    holdings = parse(exchange, raw)
    with transaction.atomic():
        return _record(user, exchange, holdings, expires_at)


def parse(exchange: str, raw: bytes) -> list[Holding]:
    """The lines of a file; raises `InvalidFile` that names every line at fault."""
    rows = list(_rows(raw))
    assets = {row["asset"].upper() for _, row in rows if row.get("asset")}
    traded = positions.markets(exchange, assets - CASH - DOLLAR_COINS)
    found: dict[tuple[str, int | None], tuple[int, Holding]] = {}
    errors = []
    for number, row in rows:
        try:
            holding = _holding(exchange, row, traded)
            key = (holding.asset, holding.symbol.pk if holding.symbol else None)
            if key in found:
                text = row.get("symbol") or row.get("asset")
                raise InvalidInput(f"{text} stands in line {found[key][0]}, too; accepted: each once")
            found[key] = (number, holding)
        except InvalidInput as error:
            errors.append(f"line {number}: {error}")
    if errors:
        raise InvalidFile(errors)
    return [holding for _, holding in found.values() if holding.amount != 0]


def _rows(raw: bytes) -> Iterator[tuple[int, dict[str, str]]]:
    if len(raw) > MOST_BYTES:
        raise InvalidFile([f"the file has {len(raw):,} bytes; accepted: {MOST_BYTES:,} at most"])
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidFile(["the file is not UTF-8; accepted: CSV as UTF-8"]) from None
    lines = text.splitlines()
    head = lines[0] if lines else ""
    reader = csv.reader(lines, delimiter=";" if head.count(";") > head.count(",") else ",")
    try:
        names = [name.strip().lower() for name in next(reader, [])]
        if not {"asset", "symbol"} & set(names):
            raise InvalidFile([f"line 1: {head[:60]!r} names no such columns; accepted: {_HEADS}"])
        for row in reader:
            if any(cell.strip() for cell in row):
                yield reader.line_num, {n: c.strip() for n, c in zip(names, row, strict=False)}
            if reader.line_num > MOST_LINES:
                raise InvalidFile([f"the file has more than {MOST_LINES:,} lines"])
    except csv.Error as error:
        raise InvalidFile([f"line {reader.line_num}: {error}; accepted: {_HEADS}"]) from None


def _holding(exchange: str, row: dict[str, str], traded: Any) -> Holding:
    amount = _amount(row.get("amount", ""))
    if row.get("symbol"):
        symbol = _symbol(exchange, row["symbol"])
        if not symbol.is_trading:
            raise InvalidInput(f"{symbol.name} does not trade at {exchange} now; accepted: a symbol that does")
        return Holding(symbol.base, amount, symbol)
    asset = row.get("asset", "").upper()
    if not asset or len(asset) > _LONGEST_ASSET:
        raise InvalidInput(f"{asset[:_LONGEST_ASSET]!r} is no asset; accepted: a name such as BTC, or a symbol")
    if asset in CASH or asset in DOLLAR_COINS:
        return Holding(asset, amount, None)
    if asset not in traded:
        raise InvalidInput(f"{exchange} trades no {asset}; accepted: {_like(exchange, asset)}")
    return Holding(asset, amount, traded[asset][0])


def _symbol(exchange: str, text: str) -> ExchangeSymbol:
    try:
        return named(exchange, text)
    except UnknownSymbol as error:
        if not error.nearest:
            raise
        nearest = " ".join(error.nearest)
        raise InvalidInput(f"{exchange} has no symbol {text[:65]!r}; accepted: BASE-QUOTE, such as {nearest}") from None


def _like(exchange: str, asset: str) -> str:
    listed = ExchangeSymbol.objects.filter(exchange_id=exchange).trading()
    known = sorted(set(listed.values_list("base", flat=True)))
    if not known:
        return f"nothing yet, as no symbol of it is known: run sync_symbols {exchange}"
    return f"what it trades, such as {' '.join(get_close_matches(asset, known, n=_NEAREST, cutoff=0.0))}"


def _amount(text: str) -> Decimal | None:
    if not text:
        return None
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or not 0 <= amount < CEILING:
        raise InvalidInput(f"amount {text[:40]!r} is none; accepted: a number such as 0.25, or nothing")
    return amount


def _record(user: Any, exchange: str, holdings: list[Holding], expires_at: datetime | None) -> Imported:
    now = timezone.now()
    before = {
        (row.asset, row.symbol_id): row
        for row in Position.objects.filter(user=user, exchange_id=exchange, account=None)
    }
    rows = []
    for holding in holdings:
        row = before.pop((holding.asset, holding.symbol.pk if holding.symbol else None), None) or Position(
            user=user, exchange_id=exchange, asset=holding.asset, symbol=holding.symbol
        )
        row.free, row.locked, row.seen_at, row.until = holding.amount, None, now, expires_at
        row.save()
        rows.append(row)
    leaving = 0
    for row in before.values():
        if row.symbol_id is None:
            row.delete()
            continue
        row.until = min(row.until or now + positions.GRACE, now + positions.GRACE)
        row.save(update_fields=["until"])
        leaving += 1
    markets = [row for row in rows if row.symbol_id is not None]
    positions.follow(user, markets)
    return Imported(len(rows), len(markets), leaving)
