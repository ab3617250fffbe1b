"""`/health/live` and `/health/ready`: ready fails with the stage that does not move."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import redis
from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse
from kombu.exceptions import OperationalError

from candles import window
from exchanges.models import Exchange
from exchanges.observed import LIVE_WITHIN_MS, live_hosts
from exchanges.state import state_redis
from livermore.celery import app
from livermore.core import keys
from livermore.core.candle import BASE_TIMEFRAME, BUCKET_MS
from livermore.web.observed import IDLE_STATES, StreamState, now_ms, observe
from symbols.models import ExchangeSymbol

FRESH_MS = 30_000
# A bucket's candle is closed within a minute of the bucket's end.
CLOSING_MS = BUCKET_MS + 60_000
FOREVER_MS = 2**53
# Of an exchange's symbols, the busiest tell whether its pipeline moves.
WITNESSES = 100
# So long after its last heartbeat a host that did not take leave is missed.
MISSED_FOR_MS = 600_000
_NOT_RUNNING = IDLE_STATES | {"refused", "paused", "draining"}


@dataclass(frozen=True, slots=True)
class Stage:
    """One thing that must move; `age_ms` since it last did, None where that has no meaning."""

    name: str
    ok: bool
    age_ms: int | None = None
    why: str = ""


def live(request: HttpRequest) -> JsonResponse:
    """The process answers."""
    return JsonResponse({"live": True})


def ready(request: HttpRequest) -> JsonResponse:
    """200 when every started exchange's data moves through every stage; nothing started is ready, too."""
    stages = [_answers("database", _database), _answers("state_redis", _state), _answers("broker", _broker)]
    if all(s.ok for s in stages):
        stages.extend(_exchanges())
    is_ready = all(s.ok for s in stages)
    stuck = [s.name for s in stages if not s.ok]
    body = {"ready": is_ready, "stuck": stuck, "stages": [asdict(s) for s in stages]}
    return JsonResponse(body, status=200 if is_ready else 503)


def _answers(name: str, ask: Callable[[], None]) -> Stage:
    try:
        ask()
    except (DatabaseError, redis.RedisError, OperationalError, OSError) as error:
        # The class only: a message may hold an address with a password.
        return Stage(name, ok=False, why=f"does not answer ({type(error).__name__})")
    return Stage(name, ok=True)


def _database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def _state() -> None:
    state_redis().ping()


def _broker() -> None:
    options = {"socket_connect_timeout": 2, "socket_timeout": 2}
    with app.connection_for_read(connect_timeout=2) as broker:
        broker.transport_options = {**broker.transport_options, **options}
        broker.ensure_connection(max_retries=1, interval_start=0, timeout=3)
        broker.default_channel  # noqa: B018 - opening a channel is what talks to the server


def _exchanges() -> list[Stage]:
    observed = observe(Exchange.objects.all())
    started = [s for s in observed if s.state not in _NOT_RUNNING]
    if not started:
        return [_hosts(now_ms())]
    return [stage for state in started for stage in stages_of(state, now_ms())]


def _hosts(now: int) -> Stage:
    """Nothing is started: by design, unless every host is gone and one of them went without taking leave."""
    silent = state_redis().zrangebyscore(keys.hosts(), now - MISSED_FOR_MS, now - LIVE_WITHIN_MS, withscores=True)
    if silent and not live_hosts():
        name, last = silent[-1]
        return Stage("exchanges", ok=False, age_ms=now - int(last), why=f"stream host {name.decode()} died")
    return Stage("exchanges", ok=True, why="nothing is started: idle by design")


def stages_of(state: StreamState, now: int) -> list[Stage]:
    """Frames arrive, batches are consumed, candles close."""
    frames = _frames(state, now)
    if not frames.ok or state.last_frame_ms is None:
        return [frames]
    began = state.since_ms or 0
    previews, closes = _newest(state.exchange)
    # Measured against the newest frame: in a quiet market there is nothing to consume.
    consumed_age = max(0, state.last_frame_ms - max(previews, began))
    closed_age = now - max(closes, began)
    return [
        frames,
        Stage(
            f"{state.exchange}.batches",
            consumed_age <= FRESH_MS,
            consumed_age,
            "" if consumed_age <= FRESH_MS else "frames arrive but no worker turns them into candles",
        ),
        Stage(
            f"{state.exchange}.candles",
            closed_age <= CLOSING_MS,
            closed_age,
            "" if closed_age <= CLOSING_MS else "no 5m candle was closed although trades are consumed",
        ),
    ]


def _frames(state: StreamState, now: int) -> Stage:
    name = f"{state.exchange}.frames"
    if state.is_silent:
        age = now - (state.updated_ms or 0)
        return Stage(name, ok=False, age_ms=age, why="its stream host no longer reports")
    if state.last_frame_ms is None:
        return Stage(name, ok=False, why=f"{state.state}, no frame yet {state.reason}".strip())
    age = now - state.last_frame_ms
    return Stage(name, age <= FRESH_MS, age, "" if age <= FRESH_MS else f"{state.state}: no frame arrives")


def _newest(exchange: str) -> tuple[int, int]:
    """When a forming candle was last touched, and the end of the newest closed candle (ms; 0 = never)."""
    symbols = ExchangeSymbol.objects.streamed().filter(exchange=exchange).order_by("tier", "rank", "name")
    names = list(symbols.values_list("name", flat=True)[:WITNESSES])
    pipeline = state_redis().pipeline(transaction=False)
    for name in names:
        pipeline.hget(keys.forming(exchange, name, BASE_TIMEFRAME), "updated_ms")
    previews = [int(touched) for touched in pipeline.execute() if touched]
    closed = window.before(exchange, [(name, FOREVER_MS) for name in names], BASE_TIMEFRAME)
    return max(previews, default=0), max((c.open_ms + BUCKET_MS for c in closed if c), default=0)
