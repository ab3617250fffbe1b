"""What answers, how far the first minutes have come, and what it all costs in memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import NamedTuple

from kombu.exceptions import OperationalError

from exchanges.lifecycle import IS_LIVE, State
from exchanges.state import state_redis, unavailable
from livermore.celery import app
from livermore.core import keys
from livermore.core.candle import Timeframe
from livermore.core.errors import StoreUnavailable
from livermore.processes import LOOPBACK

_PAGE_TIMEOUT_S = 5.0
_PING_TIMEOUT_S = 1.0


class Counts(NamedTuple):
    """How much there is to see: series with a closed candle, MACD-V values, signal events."""

    series: int
    macdv: int
    signals: int


def page(port: int, path: str) -> str:
    """Empty when the page answers 200, else what it says instead."""
    connection = HTTPConnection(LOOPBACK, port, timeout=_PAGE_TIMEOUT_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        text = answer.read(300).decode(errors="replace")
    except (OSError, HTTPException):
        return "does not answer yet"
    finally:
        connection.close()
    return "" if answer.status == 200 else f"{path} says {answer.status} {text}"


def workers(names: Iterable[str]) -> str:
    """Empty when each of these workers answers a ping, else who does not."""
    wanted = set(names)
    try:
        replies = app.control.ping(timeout=_PING_TIMEOUT_S, limit=len(wanted))
    except (OperationalError, OSError):
        return "the broker does not answer"
    there = {node.partition("@")[0] for reply in replies for node in reply}
    missing = sorted(wanted - there)
    return f"no answer from {', '.join(missing)}" if missing else ""


def streams(slugs: Sequence[str]) -> tuple[str, list[str]]:
    """Which streams are not there yet (empty: all are), and which were refused for good."""
    states = {slug: _state(slug) for slug in slugs}
    refused = [slug for slug, state in states.items() if state == State.REFUSED]
    missing = [f"{slug} {state or 'not started'}" for slug, state in states.items() if not _is_settled(state)]
    return ", ".join(missing), refused


def counts() -> Counts:
    """What the state Redis holds for people to see; zero while it does not answer."""
    five = Timeframe.M5
    try:
        with unavailable():
            client = state_redis()
            series = sum(
                1 for key in client.scan_iter(match=keys.candles("*", "*", five), count=2000)
                if keys.parse_candles(key.decode()) is not None
            )
            macdv = sum(1 for _ in client.scan_iter(match=keys.indicator("*", "*", five, "macdv"), count=2000))
            return Counts(series, macdv, client.xlen(keys.signals_stream()))
    except StoreUnavailable:
        return Counts(0, 0, 0)


def memory_mb(pids: Iterable[int]) -> int:
    """Memory of these processes in MB, shared pages counted once (PSS); 0 where the system cannot tell."""
    total_kb = 0
    for pid in pids:
        with suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total_kb += int(line.split()[1])
    return total_kb // 1024


def _state(slug: str) -> str:
    try:
        with unavailable():
            return (state_redis().hget(keys.stream(slug), "state") or b"").decode()
    except StoreUnavailable:
        return ""


def _is_settled(state: str) -> bool:
    return state == State.REFUSED or state in IS_LIVE
