"""Every Redis key is built here and nowhere else (contract §4, design §4); channels are built in `channels`."""

from __future__ import annotations  # noqa: I001 - names said twice are exported

from typing import NamedTuple

from livermore.core.channels import (
    channel_alerts as channel_alerts,
    channel_canary as channel_canary,
    channel_closed as channel_closed,
    channel_exchange as channel_exchange,
    channel_forming as channel_forming,
    channel_indicator as channel_indicator,
    channel_signal as channel_signal,
    channel_ticker as channel_ticker,
)


class CandleKey(NamedTuple):
    """The parts of a shared or a user's candle key; `user` is None in the shared pool."""

    exchange: str
    symbol: str
    timeframe: str
    user: int | None = None

    def __str__(self) -> str:
        if self.user is None:
            return candles(self.exchange, self.symbol, self.timeframe)
        return user_candles(self.user, self.exchange, self.symbol, self.timeframe)


def candles(exchange: str, symbol: str, timeframe: str) -> str:
    """Sorted set of closed candles of the shared pool, scored by open in ms."""
    return f"candles:{exchange}:{symbol}:{timeframe}"


def user_candles(user: int, exchange: str, symbol: str, timeframe: str) -> str:
    """A user's overflow: symbols outside the shared pool that this user follows; has a TTL."""
    return f"usercandles:{user}:{exchange}:{symbol}:{timeframe}"


def parse_candles(key: str) -> CandleKey | None:
    """The parts of a shared or overflow candle key; None for any other key, legacy ones included.

    The predecessor's key has five segments (`candles:{userId}:{exchangeNumber}:…`) and is not ours.
    """
    parts = key.split(":")
    if len(parts) == 4 and parts[0] == "candles":
        return CandleKey(parts[1], parts[2], parts[3])
    if len(parts) == 5 and parts[0] == "usercandles" and parts[1].isdigit():
        return CandleKey(parts[2], parts[3], parts[4], int(parts[1]))
    return None


def forming(exchange: str, symbol: str, timeframe: str) -> str:
    """Hash of the forming candle, a preview."""
    return f"candle:{exchange}:{symbol}:{timeframe}"


def ticker(exchange: str, symbol: str) -> str:
    """Hash of the last trade with both clocks."""
    return f"ticker:{exchange}:{symbol}"


def indicator(exchange: str, symbol: str, timeframe: str, kind: str) -> str:
    """JSON string: an indicator's latest value with its candle's open and revision."""
    return f"indicator:{exchange}:{symbol}:{timeframe}:{kind}"


def trades(exchange: str, symbol: str, open_ms: int) -> str:
    """Hash batch id → slab, for one 5m bucket."""
    return f"trades:{exchange}:{symbol}:5m:{open_ms}"


def edges(exchange: str, symbol: str) -> str:
    """Hash open ms → `first:last` trade ids of recently folded buckets."""
    return f"edges:{exchange}:{symbol}"


def due(exchange: str) -> str:
    """Sorted set of buckets to fold, scored by when (ms)."""
    return f"due:{exchange}"


def marked(exchange: str) -> str:
    """The newest bucket whose silent symbols were marked due."""
    return f"marked:{exchange}"


def batches(exchange: str, connection: str) -> str:
    """Bitmap of the batch numbers whose slabs are stored."""
    return f"batches:{exchange}:{connection}"


def arrived(exchange: str) -> str:
    """Hash connection → newest batch number that arrived, and when its frames were received (ns)."""
    return f"arrived:{exchange}"


def missing(exchange: str) -> str:
    """Sorted set of batch numbers that were skipped, scored by when that was noticed (ms)."""
    return f"missing:{exchange}"


def generation() -> str:
    """Which servers hold the state: their `run_id`s, `|`, and when that was looked at (ms)."""
    return "store:generation"


def windows_looked() -> str:
    """Gate: it was looked whether hot windows are gone."""
    return "store:windows_looked"


def quotes(base: str) -> str:
    """Hash `exchange|symbol` → newest prices with both clocks: input of the fast signals."""
    return f"quotes:{base}"


def trail(exchange: str, symbol: str) -> str:
    """Hash ring of per-second last prices over the last minutes."""
    return f"trail:{exchange}:{symbol}"


def touched() -> str:
    """Sorted set of bases by when (ms) their quotes last changed."""
    return "quotes:touched"


def asked() -> str:
    """Gate: at most one evaluation of the fast signals is asked for while it exists."""
    return "signals:asked"


def signal_states(kind: str, base: str) -> str:
    """Hash identity → what is remembered of a signal between evaluations."""
    return f"sig:states:{kind}:{base}"


def api_calls(caller: str, minute: int) -> str:
    """How many calls of the API somebody made in a minute (minutes since the epoch)."""
    return f"api:calls:{caller}:{minute}"


def channel_lock(channel: int) -> str:
    """Held by the one sender of a channel's messages."""
    return f"notify:lock:{channel}"


def signal_lock(base: str) -> str:
    """Held by the one evaluator of a base."""
    return f"sig:lock:{base}"


def suppressed() -> str:
    """Hash reason → how many candidate signals it suppressed."""
    return "sig:suppressed"


def unalerted(exchange: str) -> str:
    """Hash reason → how many alerts of indicators it kept back."""
    return f"unalerted:{exchange}"


def intrabar_asked(exchange: str) -> str:
    """Gate: alerts on forming bars were asked for lately."""
    return f"intrabar:asked:{exchange}"


def sync_asked(exchange: str) -> str:
    """Gate: an instrument sync was asked for because of an unknown symbol."""
    return f"sync:asked:{exchange}"


def rejected(exchange: str) -> str:
    """Hash why → how many frames or trades were set aside."""
    return f"rejected:{exchange}"


def drift(exchange: str) -> str:
    """Hash field of a frame that the venue's known schema does not have → how often it came."""
    return f"drift:{exchange}"


def noticed(exchange: str) -> str:
    """Hash reason or field of the two above → when it came last (ms)."""
    return f"noticed:{exchange}"


def alarmed(exchange: str, what: str) -> str:
    """Gate: this reason or field was told as an alert lately."""
    return f"alarmed:{exchange}:{what}"


def quarantine(exchange: str) -> str:
    """List of the newest frames set aside, each with its reason."""
    return f"quarantine:{exchange}"


def deliveries(exchange: str, batch: str) -> str:
    """Counter: how often a batch was delivered again since a worker last finished it."""
    return f"deliveries:{exchange}:{batch}"


def canary(exchange: str) -> str:
    """Hash station → `sent|passed` (ms) of the newest canary there; `slab` its trade; of `beat`: when it `swept`."""
    return f"canary:{exchange}"


def schedules_ran() -> str:
    """Hash schedule → when (ms) beat last asked for it."""
    return "beat:ran"


def call_s(exchange: str) -> str:
    """How long a request of the last backfill took, budget's waits apart: what the next plan reckons with."""
    return f"call_s:{exchange}"


def unlisted(exchange: str) -> str:
    """Hash `symbol|timeframe` → `from:to` in ms of which the venue has no bars, because there was no market."""
    return f"unlisted:{exchange}"


def host(name: str) -> str:
    """Hash: a stream host's heartbeat."""
    return f"host:{name}"


def hosts() -> str:
    """Sorted set of host names by their last heartbeat (ms)."""
    return "hosts"


def tally() -> str:
    """Hash `name|label|…` → what all processes have counted, for /metrics; never expires."""
    return "tally"


def rtt(exchange: str) -> str:
    """Hash host → `p50|when`: how far (ms) it is from the exchange, and when (ms) `doctor` measured that."""
    return f"rtt:{exchange}"


def lease(exchange: str) -> str:
    """`owner|epoch` of the one holder of an exchange."""
    return f"lease:{exchange}"


def epoch(exchange: str) -> str:
    """Counter of lease epochs; never expires."""
    return f"epoch:{exchange}"


def stream(exchange: str) -> str:
    """Hash: the observed state of an exchange's stream (state, sockets, subscriptions, coverage)."""
    return f"stream:{exchange}"


def control(exchange: str) -> str:
    """Stream of durable commands."""
    return f"stream:control:{exchange}"


def command(command_id: str) -> str:
    """Hash: a command's status and result."""
    return f"command:{command_id}"


def signals_stream() -> str:
    """Stream of signal events, resumable by id."""
    return "stream:signals"


def alerts_stream() -> str:
    """Stream of alerts, resumable by id."""
    return "stream:alerts"


def limit(exchange: str, pool: str, window: int | str) -> str:
    """Counter of the weight spent in one window. Of `closed`: sorted set with one member, `until`: nothing of
    this pool is spent before that score (ms). Of `told`: `used|when`, what the venue last said to have counted."""
    return f"limit:{exchange}:{pool}:{window}"


def activity(exchange: str) -> str:
    """Stream of the edges that an exchange's stream took, bounded."""
    return f"stream:activity:{exchange}"


def latency(of: str, what: str) -> str:
    """Of an exchange and a slot of time: hash symbol → ages seen in it. Of a base, `moves`: sorted set by when (ms)
    of moves that several exchanges made. Of `all`, `sampled`: when (ms) quotes were looked at last."""
    return f"latency:{of}:{what}"
