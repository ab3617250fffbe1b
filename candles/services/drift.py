"""Schema drift: what of a venue's frames no longer fits, counted for people and told to whoever listens."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from candles import publish
from exchanges.state import state_redis, unavailable
from livermore.core import keys

KEPT_MS = 86_400_000
"""Counts are forgotten after a day in which nothing of their kind came."""
AGAIN_AFTER_S = 3600
AT_ONCE = 10
JUMPED = "price jumped"
"""Says nothing of the schema: such a trade is stored, and only kept off the screens."""

_UNTOLD_AFTER_S = 60
_PLACE = re.compile(r"\[\d+\]")
_VALUE = re.compile(r"'[^']*'")
_MISSING = re.compile(r"field `([^`]+)`")
_AT = re.compile(r"at `\$[^`]*?\.([^`.\[\]]+)[^`.]*`")


@dataclass(frozen=True, slots=True)
class Oddity:
    """A reason or a field, how often it came since the last quiet day, and when last (ms UTC)."""

    what: str
    count: int
    newest_ms: int


@dataclass(frozen=True, slots=True)
class Drift:
    """Of one exchange, newest first: fields that no schema names, and why frames were set aside."""

    unknown_fields: tuple[Oddity, ...] = ()
    rejected: tuple[Oddity, ...] = ()

    @property
    def rejected_total(self) -> int:
        """How many frames or trades were set aside."""
        return sum(one.count for one in self.rejected)

    def lines(self, now_ms: int) -> list[str]:
        """What a person should know; nothing when all fits."""
        found = []
        if self.unknown_fields:
            names = ", ".join(f"{one.what} ×{one.count}" for one in self.unknown_fields)
            found.append(f"fields no schema names: {names} ({_ago(self.unknown_fields[0], now_ms)})")
        if self.rejected:
            newest = self.rejected[0]
            why = f"newest reason: {newest.what} ({_ago(newest, now_ms)})"
            found.append(f"frames set aside: {self.rejected_total}, {why}")
        return found


def reason(why: str) -> str:
    """A mapper's reason without the places and values in it, so that alike ones are counted together."""
    return _VALUE.sub("'…'", _PLACE.sub("[]", why))


def field_of(why: str) -> str | None:
    """The field that a reason is about, None when it is about the whole frame."""
    found = _MISSING.search(why) or _AT.search(why)
    return found[1] if found else None


def stage(pipe: Any, exchange: str, rejected: Counter[str], unknown_fields: Counter[str], now_ms: int) -> None:
    """Add the counts of a batch to `pipe`."""
    for key, counted in ((keys.rejected(exchange), rejected), (keys.drift(exchange), unknown_fields)):
        for what, count in counted.items():
            pipe.hincrby(key, what, count)
            pipe.hset(keys.noticed(exchange), what, now_ms)
            pipe.pexpire(key, KEPT_MS)
            pipe.pexpire(keys.noticed(exchange), KEPT_MS)


@unavailable()
def alarm(exchange: str, batch: str, rejected: Counter[str], unknown_fields: Counter[str]) -> int:
    """Tell each reason and field that was not told within the hour; returns how many were.

    The hour begins when the alert is out: a worker that dies in between keeps it back for a minute only.
    """
    told = 0
    for alert in list(_alerts(exchange, batch, rejected, unknown_fields))[:AT_ONCE]:
        gate = keys.alarmed(exchange, alert["reason"])
        if not state_redis().set(gate, 1, nx=True, ex=_UNTOLD_AFTER_S):
            continue
        publish.alerts([alert])
        state_redis().expire(gate, AGAIN_AFTER_S)
        told += 1
    return told


@unavailable()
def of(exchanges: Sequence[str]) -> list[Drift]:
    """What was counted at each exchange."""
    pipe = state_redis().pipeline(transaction=False)
    for exchange in exchanges:
        for key in (keys.drift(exchange), keys.rejected(exchange), keys.noticed(exchange)):
            pipe.hgetall(key)
    found = iter(pipe.execute())
    return [_drift(*three) for three in zip(found, found, found, strict=True)]


def _drift(fields: dict[bytes, bytes], rejected: dict[bytes, bytes], noticed: dict[bytes, bytes]) -> Drift:
    def newest_first(counted: dict[bytes, bytes]) -> tuple[Oddity, ...]:
        odd = [Oddity(what.decode(), int(count), int(noticed.get(what, 0))) for what, count in counted.items()]
        return tuple(sorted(odd, key=lambda one: (-one.newest_ms, one.what)))

    return Drift(newest_first(fields), newest_first(rejected))


def _alerts(
    exchange: str, batch: str, rejected: Counter[str], unknown_fields: Counter[str]
) -> Iterator[dict[str, Any]]:
    common = {"v": 1, "kind": "schema_drift", "exchange": exchange, "batch": batch}
    common["at_ms"] = time.time_ns() // 1_000_000
    for why, count in rejected.items():
        if why != JUMPED:
            told = {"what": "rejected", "field": field_of(why), "reason": why, "count": count}
            yield {**common, **told, "message": f"{exchange}: {count} frames of a batch set aside: {why}"}
    for name, count in unknown_fields.items():
        why = f"no schema names field {name}"
        told = {"what": "unknown_field", "field": name, "reason": why, "count": count}
        yield {**common, **told, "message": f"{exchange}: {why}; it came {count} times in a batch"}


def _ago(one: Oddity, now_ms: int) -> str:
    seconds = max(0, now_ms - one.newest_ms) // 1000
    return f"{seconds} s ago" if seconds < 120 else f"{seconds // 60} min ago"
