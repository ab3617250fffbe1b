"""How far each host is from each exchange, as `doctor` measured there: told to the others for a day."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence

from exchanges.state import state_redis, unavailable
from livermore.core import keys

KEPT_MS = 86_400_000


@unavailable()
def tell(exchange: str, p50_ms: float) -> None:
    """This machine's median round trip, under the name that its stream host has by default."""
    state_redis().hset(keys.rtt(exchange), socket.gethostname(), f"{p50_ms:.1f}|{_now_ms()}")
    state_redis().pexpire(keys.rtt(exchange), KEPT_MS)


@unavailable()
def told(exchanges: Sequence[str]) -> dict[str, dict[str, float]]:
    """By exchange and host, in ms; what is older than a day is left out."""
    pipe = state_redis().pipeline(transaction=False)
    for exchange in exchanges:
        pipe.hgetall(keys.rtt(exchange))
    return {slug: _fresh(said) for slug, said in zip(exchanges, pipe.execute(), strict=True)}


def _fresh(said: dict[bytes, bytes]) -> dict[str, float]:
    found = {}
    for host, text in said.items():
        p50_ms, _, at_ms = text.decode().partition("|")
        if int(at_ms) > _now_ms() - KEPT_MS:
            found[host.decode()] = float(p50_ms)
    return found


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
