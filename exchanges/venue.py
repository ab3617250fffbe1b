"""THE OBLIGATION: everything a venue must provide. A newcomer reads this file and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Protocol, runtime_checkable

from exchanges.holdings import Credentials, Holdings
from livermore.core.candle import Kline, Timeframe
from livermore.core.symbol import Symbol, SymbolBook
from livermore.core.trade import Nanos, Trade


class TradeIds(StrEnum):
    """What a venue's trade ids can prove."""

    CONSECUTIVE = "consecutive"  # +1 per trade and symbol: a hole is a loss
    ORDERED = "ordered"  # rising, with holes
    UNIQUE = "unique"  # opaque; only removes duplicates
    ABSENT = "absent"


class Backfill(StrEnum):
    """How far back a venue gives trades."""

    BY_ID = "by_id"
    BY_TIME = "by_time"
    RECENT = "recent"
    NONE = "none"


# ---- what a session tells its stream to do -----------------------------------------------------


@dataclass(frozen=True, slots=True)
class Keep:
    """The frame is market data: put it into the batch."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send this text frame now; it may hold a token and is not shown."""

    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Ready:
    """Every wanted topic is acknowledged; trades flow."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The venue will not serve these native symbols; the others go on."""

    natives: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True)
class Lost:
    """The venue's own numbering shows that frames of this connection are missing."""

    why: str


@dataclass(frozen=True, slots=True)
class Rotate:
    """This connection will end: open a successor first, then close this one."""

    why: str


@dataclass(frozen=True, slots=True)
class Close:
    """This connection is of no more use: close it and reconnect."""

    why: str


Event = Keep | Send | Ready | Refused | Lost | Rotate | Close

KEEP: Sequence[Event] = (Keep(),)
NOTHING: Sequence[Event] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """What an operator may lower in the exchange's row; see each field's unit.

    The last two come with the `SocketAddress` of a connection, where the venue says them there.
    """

    topics_per_connection: int
    messages_per_second: float
    connection_lifetime_s: float | None
    silence_s: float = 60.0  # without any frame for so long, the connection is dead
    ping_interval_s: float | None = None
    ping_timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a venue is reached: base addresses without a trailing slash."""

    rest: str
    ws: str


@dataclass(frozen=True, slots=True)
class SocketAddress:
    """Where one connection goes, and how the venue wants that one kept alive.

    `url` may hold a token: it is not shown, and no message may quote its query.
    """

    url: str = field(repr=False)
    ping_interval_s: float | None = None
    ping_timeout_s: float | None = None

    def within(self, limits: Limits) -> Limits:
        """The limits of the row, and what is said here."""
        return replace(limits, ping_interval_s=self.ping_interval_s, ping_timeout_s=self.ping_timeout_s)


@dataclass(frozen=True, slots=True)
class Instrument:
    """What a venue says of one of its markets. `tick` and `lot` are the price and quantity steps."""

    native: str
    symbol: Symbol
    is_trading: bool
    status: str
    tick: Decimal
    lot: Decimal
    quote_precision: int | None = None


@dataclass(frozen=True, slots=True)
class Key:
    """The operator's own key for a venue's public data; it is not shown."""

    name: str = field(repr=False)
    private_key: str = field(repr=False)


class Session(Protocol):
    """One connection's conversation, pure: no socket, no clock, no log.

    The caller must do what the returned events say, in order, and must call `tick` at least every
    100 ms. `opened` comes once, first. `received` is called for every text or binary frame; for market
    data it must return the constant `KEEP`, for control frames whatever follows from them. Native
    symbols only. Raises `RemoteProtocolError` when the venue says something impossible.
    """

    def opened(self, now: Nanos) -> Sequence[Event]: ...
    def received(self, payload: bytes, now: Nanos) -> Sequence[Event]: ...
    def tick(self, now: Nanos) -> Sequence[Event]: ...
    def follow(self, natives: Collection[str], now: Nanos) -> Sequence[Event]: ...


@dataclass(slots=True)
class Mapped:
    """What a mapper made of some frames: trades, frames set aside (index, why), unknown natives.

    `unknown_fields` counts, by name, fields that the venue's published schema does not have; their frames are
    mapped like any other. Only schemas that give every field a place (protobuf) can tell.
    """

    trades: list[Trade] = field(default_factory=list)
    rejected: list[tuple[int, str]] = field(default_factory=list)
    unknown: Counter[str] = field(default_factory=Counter)
    unknown_fields: Counter[str] = field(default_factory=Counter)


class Mapper(Protocol):
    """Frames → trades; pure. Never raises for a bad frame: it goes to `rejected` and the rest goes on.

    Frames that are no trades (acknowledgements, heartbeats, other channels) map to nothing. Prices and
    quantities stay the venue's text; whether they are sane is judged by `candles.slab`.
    """

    def __call__(self, frames: Sequence[bytes], book: SymbolBook) -> Mapped: ...


class Budget(Protocol):
    """How much may be asked of a venue's REST, by all processes together; `exchanges.http.Door` keeps to it.

    `spend` comes before every request: it may wait, and raises `RateLimited` when the wait is long. `told`
    takes the venue's own count where it states one; `close` says that the venue sent 429 or 418.
    """

    def spend(self, weight: int) -> None: ...
    def told(self, used: int) -> None: ...
    def close(self, until_ms: int) -> None: ...


@dataclass(frozen=True, slots=True)
class KlinePage:
    """What one request for klines gives at most and costs; `days` where days are put together from smaller ones.

    It is what plans reckon with, so that each of their pages is one request: `Rest.klines` pages by itself.
    """

    bars: int
    weight: int
    days: int = 0

    def most(self, timeframe: Timeframe) -> int:
        """How many bars of this length one request gives."""
        return self.days if self.days and timeframe is Timeframe.D1 else self.bars


class Rest(Protocol):
    """A venue's REST API, as far as it serves market data. All times ms UTC, intervals half-open.

    Every request goes through a `Door` with the given budget and costs the weight that the venue's page
    states. Raises `Transient` kinds for time-outs, 5xx and 429/418, `GeoBlocked` for 451 and regional 403.

    `socket_url` is asked anew for every connection; it may ask the venue. Most venues answer with a plain URL.
    """

    def socket_url(self, natives: Collection[str]) -> str | SocketAddress: ...
    def instruments(self) -> Sequence[Instrument]: ...
    def klines(self, native: str, timeframe: Timeframe, start_ms: int, end_ms: int) -> Sequence[Kline]: ...
    def trades(self, native: str, symbol: str, start_ms: int, end_ms: int) -> Sequence[Trade]: ...
    def volumes(self) -> Mapping[str, Decimal]: ...
    def time_ms(self) -> int: ...


@dataclass(frozen=True, slots=True)
class StatedLimits:
    """What a venue says of its own limits today, named and measured as in the exchange's row; None: nothing.

    `silence_s` is how long a connection that its pings keep alive may be without a frame: the row's must be no shorter.
    """

    rest_weight: int | None = None
    rest_window_s: int | None = None
    silence_s: int | None = None


@runtime_checkable
class StatesLimits(Protocol):
    """What a `Rest` may offer besides, where its venue states limits. Raises what its other calls raise."""

    def stated_limits(self) -> StatedLimits: ...


SessionFactory = Callable[[Limits, Collection[str]], Session]
RestFactory = Callable[[Endpoint, Budget], Rest]
HoldingsFactory = Callable[[Endpoint, Budget, Credentials], Holdings]


@dataclass(frozen=True, slots=True)
class Venue:
    """Everything the project knows of a venue in code; what an operator may correct is in its row.

    `flat_when_idle` tells whether its klines fill an interval without trades (or leave it out).
    `turnover_cut` tells that its klines cut each trade's quote amount to the quote precision,
    `turnover_shortened` that they tell the exact sum no finer than that.
    `schema_since` is the oldest upstream state of its messages in `proto/` that the mapper can read.
    `kline_page` says what a request for klines gives and costs; as it stands here it is a cautious guess.
    `keyed` makes sessions that use a key, where the venue takes one for public data; it raises `InvalidInput`.
    `holdings` reads a user's account (`exchanges.holdings`), where the venue has that.
    `paced` makes sessions that share one pace, where the venue counts the messages of all connections together.
    """

    slug: str
    docs: str
    trade_ids: TradeIds
    backfill: Backfill
    mapper: Mapper
    session: SessionFactory
    rest: RestFactory
    flat_when_idle: bool
    turnover_cut: bool = False
    turnover_shortened: bool = False
    has_turnover: bool = True
    kline_page: KlinePage = KlinePage(bars=100, weight=10)
    schema_since: date | None = None
    keyed: Callable[[Key], SessionFactory] | None = None
    paced: Callable[[SessionFactory], SessionFactory] | None = None
    holdings: HoldingsFactory | None = None

    def for_stream(self) -> Venue:
        """As one stream uses it, with all its connections."""
        return self if self.paced is None else replace(self, session=self.paced(self.session))
