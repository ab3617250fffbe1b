"""Positions: what users hold at their exchanges, and the symbols followed for it.

For each asset the exchange's most liquid market in USD, USDT or USDC is followed, failing these its most liquid one; a
market once chosen is kept while it trades. Not followed are cash (dollars, dollar coins, other money) and dust, worth
less than `DUST_USD`. A position is followed until no reading has confirmed it for `GRACE`.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Context, Decimal
from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils import timezone

import exchanges.services
from exchanges import credentials
from exchanges.holdings import Balance, Credentials, KeyRights
from exchanges.models import KeyState, UserExchange
from exchanges.venue import Rest
from livermore.core.candle import Timeframe
from livermore.core.errors import CredentialsRejected, LivermoreError, Transient
from symbols import services
from symbols.models import ExchangeSymbol, Position, UserSymbolSubscription
from symbols.ranking import CASH, DOLLAR, DOLLAR_COINS

SOURCE = "position"
QUOTES = ("USD", "USDT", "USDC")
DUST_USD = Decimal(1)
GRACE = timedelta(hours=24)
VALUED_FOR = timedelta(hours=1)
VALUED_AT_ONCE = 20
"""A first reading of many assets is valued in several: each costs a request."""
_RENEWED_BEFORE = timedelta(hours=1)
_LONGEST = 32
_DAY_MS = 86_400_000
_ROUNDED = Context(prec=28)


@dataclass(frozen=True, slots=True)
class Reading:
    """What came of reading an account; `followed` counts its markets. `why` tells what went wrong."""

    account: int
    state: KeyState
    positions: int = 0
    followed: int = 0
    why: str = ""


# ---- one account -------------------------------------------------------------------------------


def readable(slugs: Collection[str]) -> list[int]:
    """The accounts at these exchanges that are to be read: all that have a key which was not refused."""
    waiting = UserExchange.objects.filter(exchange__in=slugs).exclude(state=KeyState.REFUSED).exclude(credentials=b"")
    return list(waiting.order_by("pk").values_list("pk", flat=True))


def read(account_id: int) -> Reading | None:
    """Read an account and follow what it holds; None where it is gone or refused.

    What goes wrong is written beside the account: a key that is not accepted, or may do more than read without its
    owner's acknowledgement, is not used again before it is edited.
    """
    account = UserExchange.objects.select_related("user").filter(pk=account_id).first()
    if account is None or account.state == KeyState.REFUSED:
        return None
    key = Credentials("", "")
    try:
        key = credentials.decrypt(account.credentials)
        balances = _balances(account, key)
        seen = _seen(account, balances)
    except LivermoreError as error:
        state = KeyState.REFUSED if isinstance(error, CredentialsRejected) else KeyState.FAILING
        why = key.redacted(str(error))[:300]
        _tell(account, state, why, timezone.now())
        return Reading(account.pk, state, why=why)
    now = timezone.now()
    with transaction.atomic():
        if not _tell(account, KeyState.READ, "", now):
            return None  # edited or deleted meanwhile: whatever was read belongs to no key
        _record(account, seen, now)
    return Reading(account.pk, KeyState.READ, len(seen), sum(s.symbol is not None for s in seen))


def _balances(account: UserExchange, key: Credentials) -> Iterable[Balance]:
    holdings = exchanges.services.holdings(account.exchange_id, key)
    if not account.is_trading_acknowledged:
        _check(holdings.rights())
    return holdings.balances()


def _check(rights: KeyRights) -> None:
    """Raises `CredentialsRejected` for a key that may do more than read, or may for all its venue tells."""
    if rights.beyond_reading is None:
        raise CredentialsRejected(
            "this exchange does not tell what a key may do: make one for reading only, then tick “trading acknowledged”"
        )
    if rights.beyond_reading:
        raise CredentialsRejected(
            f"this key may do more than read ({', '.join(rights.beyond_reading)}): make one for reading only, or tick "
            "“trading acknowledged”"
        )


def _tell(account: UserExchange, state: KeyState, why: str, now: datetime) -> bool:
    """Write down how it went, unless the account was edited meanwhile; False then."""
    unchanged = UserExchange.objects.filter(
        pk=account.pk, credentials=bytes(account.credentials), is_trading_acknowledged=account.is_trading_acknowledged
    )
    read_at = {"read_at": now} if state is KeyState.READ else {}
    return bool(unchanged.update(state=state, state_why=why, tried_at=now, **read_at))


# ---- what is worth following -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Seen:
    """A balance, and the market to follow for it."""

    balance: Balance
    symbol: ExchangeSymbol | None
    value_usd: Decimal | None
    valued_at: datetime | None


def _seen(account: UserExchange, balances: Iterable[Balance]) -> list[_Seen]:
    """Every balance with its market and its value; what is cash or dust is without a market."""
    held = {balance.asset.upper()[:_LONGEST]: balance for balance in balances}
    known = {row.asset: row for row in account.positions.select_related("symbol")}
    traded = markets(account.exchange_id, held.keys() - CASH - DOLLAR_COINS)
    pricing = _Pricing(exchanges.services.rest(account.exchange_id))
    return [_judged(balance, known.get(asset), traded.get(asset, []), pricing) for asset, balance in held.items()]


def markets(exchange: str, assets: Collection[str]) -> Mapping[str, list[ExchangeSymbol]]:
    """The trading markets of each asset, the one to follow first."""
    found: dict[str, list[ExchangeSymbol]] = {}
    for row in ExchangeSymbol.objects.filter(exchange_id=exchange, base__in=assets).trading():
        found.setdefault(row.base, []).append(row)
    for rows in found.values():
        rows.sort(key=_liquidity, reverse=True)
    return found


def _liquidity(row: ExchangeSymbol) -> tuple[bool, Decimal, int]:
    is_preferred = row.quote in QUOTES
    return is_preferred, row.turnover_usd_24h or Decimal(0), -QUOTES.index(row.quote) if is_preferred else 0


def _judged(balance: Balance, known: Position | None, traded: list[ExchangeSymbol], pricing: _Pricing) -> _Seen:
    asset, now = balance.asset.upper(), timezone.now()
    if asset == DOLLAR or asset in DOLLAR_COINS:
        return _Seen(balance, None, balance.amount, now)
    if not traded:
        return _Seen(balance, None, None, None)
    kept = known.symbol if known else None
    symbol = next((row for row in traded if kept and row.pk == kept.pk), traded[0])
    value, valued_at = (known.value_usd, known.valued_at) if known else (None, None)
    is_fresh = valued_at is not None and valued_at > now - VALUED_FOR
    if known is None or not is_fresh or (known.free, known.locked) != (balance.free, balance.locked):
        was_asked, price = pricing.price(symbol)
        if was_asked:
            value, valued_at = None if price is None else _ROUNDED.multiply(price, balance.amount), now
    # What could not be valued is followed: a position must not be lost for want of a price.
    is_dust = value is not None and value < DUST_USD
    return _Seen(balance, None if is_dust else symbol, value, valued_at)


class _Pricing:
    """The last price of some markets, as long as the venue's budget and our patience allow."""

    def __init__(self, rest: Rest) -> None:
        self._rest, self._left = rest, VALUED_AT_ONCE

    def price(self, symbol: ExchangeSymbol) -> tuple[bool, Decimal | None]:
        """Whether the venue was asked, and the newest hour's close of the last day, in dollars; None without one."""
        if symbol.quote not in QUOTES or self._left <= 0:
            return False, None
        self._left -= 1
        hour_ms = Timeframe.H1.ms
        end_ms = (time.time_ns() // 1_000_000 // hour_ms + 1) * hour_ms
        try:
            klines = self._rest.klines(symbol.native, Timeframe.H1, end_ms - _DAY_MS, end_ms)
        except Transient:
            self._left = 0  # the balances are known all the same, and the next reading asks again
            return False, None
        except LivermoreError:
            return True, None
        return True, max(klines, key=lambda k: k.open_ms).close if klines else None


# ---- what is written ---------------------------------------------------------------------------


def _record(account: UserExchange, seen: Iterable[_Seen], now: datetime) -> None:
    rows = {row.asset: row for row in Position.objects.filter(account=account)}
    written, former = [], set()
    for one in seen:
        asset = one.balance.asset.upper()[:_LONGEST]
        row = rows.get(asset) or Position(
            user=account.user, exchange_id=account.exchange_id, account=account, asset=asset
        )
        row.free, row.locked, row.seen_at = one.balance.free, one.balance.locked, now
        row.value_usd, row.valued_at = one.value_usd, one.valued_at
        if one.symbol is not None:
            if row.symbol_id not in (None, one.symbol.pk):
                former.add(row.symbol_id)
            row.symbol, row.until = one.symbol, now + GRACE
        written.append(row)
    Position.objects.bulk_create([row for row in written if row.pk is None])
    fields = ["free", "locked", "symbol", "value_usd", "valued_at", "seen_at", "until"]
    Position.objects.bulk_update([row for row in written if row.pk is not None], fields)
    follow(account.user, [row for row in written if row.symbol_id is not None])
    _leave(account.user, former)


def follow(user: Any, rows: Iterable[Position]) -> None:
    """Follow the markets of these positions until their end; what is followed long enough is left alone."""
    rows = list(rows)
    followed = {
        row.symbol_id: row
        for row in UserSymbolSubscription.objects.filter(user=user, symbol__in={row.symbol_id for row in rows})
    }
    for row in rows:
        subscription = followed.get(row.symbol_id)
        is_held = subscription is not None and SOURCE in subscription.reasons
        if not is_held or not _lasts(subscription, row.until):
            services.follow(user, row.symbol, SOURCE, expires_at=row.until)


def _lasts(subscription: Any, until: datetime | None) -> bool:
    if subscription.expires_at is None:
        return True
    return until is not None and subscription.expires_at > until - _RENEWED_BEFORE


@transaction.atomic
def end_due(now: datetime | None = None) -> int:
    """End what no reading has confirmed for its grace, or a file meant to end by now; returns how many positions."""
    now = now or timezone.now()
    due = list(Position.objects.filter(until__lte=now).select_related("user", "account"))
    for row in due:
        symbol_id = row.symbol_id
        if _is_still_held(row):  # it has become dust
            row.symbol = row.until = None
            row.save(update_fields=["symbol", "until"])
        else:
            row.delete()
        _leave(row.user, {symbol_id} - {None})
    Position.objects.filter(symbol=None, seen_at__lt=F("account__read_at")).delete()
    return len(due)


def _is_still_held(row: Position) -> bool:
    return row.account is not None and row.account.read_at is not None and row.seen_at >= row.account.read_at


@transaction.atomic
def forget(rows: Any) -> None:
    """Delete positions (a queryset), and with each the reason to follow its market."""
    held = [(row.user, row.symbol_id) for row in rows.select_related("user")]
    rows.delete()
    for user, symbol_id in held:
        _leave(user, {symbol_id} - {None})


def _leave(user: Any, symbol_ids: Iterable[int]) -> None:
    """Take the reason from markets for which the user has no other position."""
    kept = set(Position.objects.filter(user=user, symbol__in=symbol_ids).values_list("symbol_id", flat=True))
    for symbol in ExchangeSymbol.objects.filter(pk__in=set(symbol_ids) - kept):
        services.unfollow(user, symbol, SOURCE)
