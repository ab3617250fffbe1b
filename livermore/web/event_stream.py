"""`/api/v1/stream`: server-sent events over the hub, resumable by `Last-Event-ID` for signals."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable

import redis
from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse

from livermore.core import keys
from livermore.web import access
from livermore.web.hub import DROPPED, SIGNAL_CHANNELS, Client, Event, Hub, matches, order
from livermore.web.observed import now_ms
from livermore.web.pulse import pulse

COMMENT_EVERY_S = 10.0
BEAT_EVERY_S = 2.0
MOST_PATTERNS = 200
_ENTRY_ID = re.compile(r"^\d{1,20}-\d{1,20}$")
_PATTERN = re.compile(r"^[A-Za-z0-9_:.*?-]{1,200}$")

# What may be listened to: the first words of a channel, or a plural that means all of a kind.
_SIGNAL = (keys.channel_signal, 1)
_ALERTS = (keys.channel_alerts, 1)
_EXCHANGE = (keys.channel_exchange, 1)
_TICKER = (keys.channel_ticker, 2)
_FORMING = (keys.channel_forming, 3)
_CLOSED = (keys.channel_closed, 3)
_INDICATOR = (keys.channel_indicator, 4)
_KINDS: dict[str, tuple[tuple[Callable[..., str], int], ...]] = {
    "signal": (_SIGNAL,),
    "signals": (_SIGNAL,),
    "alerts": (_ALERTS,),
    "exchange": (_EXCHANGE,),
    "exchanges": (_EXCHANGE,),
    "health": (_EXCHANGE,),
    "ticker": (_TICKER,),
    "tickers": (_TICKER,),
    "candle": (_FORMING,),
    "candle:close": (_CLOSED,),
    "candles": (_FORMING, _CLOSED),
    "indicator": (_INDICATOR,),
    "indicators": (_INDICATOR,),
}
HEARTBEAT = "heartbeat"


class BadChannels(ValueError):
    """The caller named a channel that cannot be."""


def patterns_of(text: str) -> tuple[list[str], bool]:
    """Channel patterns of contract §4 for a comma list, and whether heartbeat events are wanted.

    `channel:` may be left out, and the plural means every channel of that kind: `signals:*`,
    `candles:*:BTC-*:5m` (forming and closed). Raises `BadChannels`.
    """
    names = [n.strip() for n in text.split(",") if n.strip()]
    wants_beat = HEARTBEAT in names
    found: list[str] = []
    for name in names:
        if name != HEARTBEAT:
            found.extend(p for p in _expand(name) if p not in found)
    if not found and not wants_beat:
        raise BadChannels("channels= is empty; try channels=signals:*,exchanges:*")
    if len(found) > MOST_PATTERNS:
        raise BadChannels(f"at most {MOST_PATTERNS} channels; use a pattern such as candles:*:BTC-*:5m")
    return found, wants_beat


def _expand(name: str) -> list[str]:
    """The channels a name means; parts left out at its end mean any."""
    words = name.removeprefix("channel:").split(":")
    length = 2 if words[:2] == ["candle", "close"] else 1
    kinds, parts = _KINDS.get(":".join(words[:length])), [word or "*" for word in words[length:]]
    if kinds is None or not _PATTERN.match(name):
        raise BadChannels(f"channel {name!r} does not exist; one begins with: {' '.join([*_KINDS, HEARTBEAT])}")
    if any(len(parts) > count for _, count in kinds):
        raise BadChannels(f"channel {name!r} has too many parts")
    return [channel(*parts, *["*"] * (count - len(parts))) for channel, count in kinds]


_hub: tuple[asyncio.AbstractEventLoop, Hub] | None = None


def hub() -> Hub:
    """The one hub of the running event loop."""
    global _hub
    loop = asyncio.get_running_loop()
    if _hub is None or _hub[0] is not loop:
        _hub = (loop, Hub(pulse))
    return _hub[1]


def clients() -> int:
    """How many listen to this process."""
    return len(_hub[1].clients) if _hub else 0


def heard_ms(exchange: str) -> int | None:
    """When this process's hub last heard a canary of the exchange; None when it has no hub that listens."""
    return _hub[1].heard_ms(exchange) if _hub is not None else None


async def event_stream(request: HttpRequest) -> HttpResponse:
    """The endless answer; 401, 422 or 503 as JSON when it cannot begin."""
    if not await sync_to_async(access.is_known)(request):
        return access.unauthorized()
    try:
        patterns, wants_beat = patterns_of(request.GET.get("channels", ""))
    except BadChannels as error:
        return _refusal(422, "unknown_channel", str(error))
    try:
        client = await hub().join(patterns)
    except (TimeoutError, redis.RedisError, OSError):
        return _refusal(503, "store_unavailable", "the state Redis does not answer; try again")
    response = StreamingHttpResponse(_answer(client, _resume_id(request), wants_beat), content_type="text/event-stream")
    response["Cache-Control"] = "no-store"
    response["X-Accel-Buffering"] = "no"
    return response


async def _answer(client: Client, after: str, wants_beat: bool) -> AsyncIterator[bytes]:
    """Hello, what was missed, then whatever comes; in quiet times a heartbeat or a comment."""
    seen = "0-0"
    pause_s = BEAT_EVERY_S if wants_beat else COMMENT_EVERY_S
    try:
        async for event in _beginning(client, after):
            seen = event.entry or seen
            yield encoded(event)
        # A new listener's id is only where it may resume; what came meanwhile still waits in its queue.
        seen = seen if after else "0-0"
        beat_at = time.monotonic() + pause_s
        while True:
            try:
                event = await asyncio.wait_for(client.queue.get(), max(0.0, beat_at - time.monotonic()))
            except TimeoutError:
                beat_at = time.monotonic() + pause_s
                yield _beat() if wants_beat else b": alive\n\n"
                continue
            if event.entry and order(event.entry) <= order(seen):
                continue
            yield encoded(event)
            if event.name == DROPPED:
                return
    finally:
        await hub().leave(client)


async def _beginning(client: Client, after: str) -> AsyncIterator[Event]:
    """Where the listener stands: the signals it missed, or the id from which it may resume later."""
    hello = json.dumps({"now_ms": now_ms(), "channels": list(client.patterns)})
    if not any(p.startswith(SIGNAL_CHANNELS) for p in client.patterns):
        yield Event("hello", "", hello)
        return
    if not after:
        yield Event("hello", "", hello, await hub().newest_entry())
        return
    yield Event("hello", "", hello)
    if await hub().has_lost(after):
        yield Event("gap", "", json.dumps({"after": after, "why": "older signals are no longer kept"}))
    async for event in hub().missed(after):
        if matches(client.patterns, event.channel):
            yield event


def encoded(event: Event) -> bytes:
    """An event on the wire; a wake-up carries its channel, a signal is the event of signals.md §4.6."""
    text = event.text if not event.channel or event.entry else _wake(event)
    lines = [f"event: {event.name}", *(f"data: {line}" for line in text.splitlines() or [""])]
    if event.entry:
        lines.insert(0, f"id: {event.entry}")
    return ("\n".join(lines) + "\n\n").encode()


def _wake(event: Event) -> str:
    try:
        said = json.loads(event.text)
    except ValueError:
        said = event.text
    return json.dumps({"channel": event.channel, "data": said}, separators=(",", ":"))


def _beat() -> bytes:
    return encoded(Event(HEARTBEAT, "", json.dumps({"now_ms": now_ms()})))


def _resume_id(request: HttpRequest) -> str:
    """The id a client resumes from; a text that is no id means a new listener."""
    text = request.headers.get("Last-Event-ID") or request.GET.get("last_event_id", "")
    return text if _ENTRY_ID.match(text) else ""


def _refusal(status: int, code: str, message: str) -> JsonResponse:
    return JsonResponse({"error": {"code": code, "message": message}}, status=status)
