"""`/health/live` and `/health/ready`: ready fails with the stage that does not move."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass

import redis
from django.conf import settings
from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse
from kombu.exceptions import OperationalError

from candles import window
from candles.services import canary
from exchanges.models import Exchange
from exchanges.observed import LIVE_WITHIN_MS, live_hosts
from exchanges.state import state_redis
from livermore import queues
from livermore.celery import app
from livermore.core import keys
from livermore.core.candle import BASE_TIMEFRAME, BUCKET_MS
from livermore.web.event_stream import heard_ms
from livermore.web.observed import IDLE_STATES, StreamState, now_ms, observe
from symbols.models import ExchangeSymbol

# Named within half a minute.
FRESH_MS = 28_000
# Beside twice the time between two canaries, which may just have been missed.
CANARY_MARGIN_MS = 2_000
# A bucket's candle is closed within a minute of the bucket's end.
CLOSING_MS = BUCKET_MS + 60_000
FOREVER_MS = 2**53
# Of an exchange's symbols, the busiest tell whether its pipeline moves.
WITNESSES = 100
# So long after its last heartbeat a host that did not take leave is missed.
MISSED_FOR_MS = 600_000
# So many stages come first and are of no one exchange.
GLOBAL = 3
ANSWER_WITHIN_S = 3.0
_asker = ThreadPoolExecutor(1, thread_name_prefix="health")
_asking: Future[None] | None = None
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
    if all(s.ok for s in stages):
        # What it asks for is done by workers that were seen to move.
        stages.extend(_beat(now_ms()))
    if all(s.ok for s in stages[:GLOBAL]):
        stages.append(_queues())
    is_ready = all(s.ok for s in stages)
    stuck = [s.name for s in stages if not s.ok]
    body = {"ready": is_ready, "stuck": stuck, "stages": [asdict(s) for s in stages]}
    return JsonResponse(body, status=200 if is_ready else 503)


def _answers(name: str, ask: Callable[[], None]) -> Stage:
    try:
        ask()
    except (DatabaseError, redis.RedisError, OperationalError, OSError, TimeoutError) as error:
        # The class only: a message may hold an address with a password.
        return Stage(name, ok=False, why=f"does not answer ({type(error).__name__})")
    return Stage(name, ok=True)


def _database() -> None:
    """Asked in a thread, because a server that is frozen, not gone, never answers."""
    global _asking
    if _asking is None or _asking.done():
        _asking = _asker.submit(_select)
    _asking.result(timeout=ANSWER_WITHIN_S)


def _select() -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    finally:
        connection.close()


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
    """The stations of one exchange's data in their order, as far as the first that does not move.

    What comes behind that one stands still because of it.
    """
    found: list[Stage] = []
    for stage in _stations(state, now):
        found.append(stage)
        if not stage.ok:
            break
    return found


def _stations(state: StreamState, now: int) -> Iterator[Stage]:
    """Host, frames, outbox; then what the workers make of them, seen by data and by canary; then whoever reads."""
    yield _host(state, now)
    yield _frames(state, now)
    if state.last_frame_ms is None:
        return
    yield _outbox(state, now)
    slug, began = state.exchange, state.since_ms or 0
    passed = canary.stations(slug)
    previews, closes = _newest(slug)
    # Measured against the newest frame: in a quiet market there is nothing to consume.
    yield _moving(
        f"{slug}.batches", max(0, state.last_frame_ms - max(previews, began)), FRESH_MS,
        _canary_age(passed[canary.TICKS], began, now), "frames arrive but no worker turns them into candles",
    )  # fmt: skip
    yield _moving(
        f"{slug}.candles", now - max(closes, began), CLOSING_MS,
        _canary_age(passed[canary.CANDLES], began, now), "trades are consumed but no candle is folded of them",
    )  # fmt: skip
    signals_age = _canary_age(passed[canary.SIGNALS], began, now)
    yield _moving(f"{slug}.signals", None, 0, signals_age, "candles are folded but nothing is published")
    heard = heard_ms(slug)
    if heard is not None:
        reader_age = now - max(heard, began)
        yield _moving(f"{slug}.reader", None, 0, reader_age, "what is published does not reach this web process")


def _moving(name: str, age: int | None, longest: int, canary_age: int, why: str) -> Stage:
    """A station that data and canaries pass; `age` is None where only canaries can tell."""
    ok = (age is None or age <= longest) and canary_age <= stuck_after_ms()
    shown = canary_age if age is None else age
    return Stage(name, ok, shown, "" if ok else why)


def stuck_after_ms() -> int:
    """A station that no canary has passed for so long stands still."""
    return 2 * settings.CANARY_EVERY_S * 1000 + CANARY_MARGIN_MS


def _canary_age(passed: canary.Passed, began: int, now: int) -> int:
    return now - max(passed.at_ms, began)


def _host(state: StreamState, now: int) -> Stage:
    name, age = f"{state.exchange}.host", now - (state.updated_ms or 0)
    return Stage(name, not state.is_silent, age, "its stream host no longer reports" if state.is_silent else "")


def _frames(state: StreamState, now: int) -> Stage:
    name = f"{state.exchange}.frames"
    if state.last_frame_ms is None:
        return Stage(name, ok=False, why=f"{state.state}, no frame yet {state.reason}".strip())
    age = now - state.last_frame_ms
    return Stage(name, age <= FRESH_MS, age, "" if age <= FRESH_MS else f"{state.state}: no frame arrives")


def _outbox(state: StreamState, now: int) -> Stage:
    age = now - state.spooled_from_ms if state.spooled and state.spooled_from_ms else 0
    ok = age <= FRESH_MS
    return Stage(f"{state.exchange}.outbox", ok, age, "" if ok else "batches wait for the broker")


def _queues() -> Stage:
    """Does nothing wait long where nothing should?"""
    found = queues.late(queues.TOO_LATE_MS)
    why = ", ".join(f"{one.queue}: {one.depth} messages" for one in found)
    return Stage("queues", not found, found[0].age_ms if found else None, why)


def _beat(now: int) -> list[Stage]:
    """Beat asks for a sweep every two seconds; where none has ever run, none is expected."""
    swept = canary.swept_ms()
    if swept is None:
        return []
    age, longest = now - swept, stuck_after_ms()
    return [Stage("beat", age <= longest, age, "" if age <= longest else "beat asks for no sweep, or nobody runs it")]


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
