"""What stream hosts say of themselves and of their exchanges, in Redis, for whoever looks."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from exchanges import lease, lifeline
from exchanges.lifecycle import State
from exchanges.state import state_redis, unavailable
from livermore.core import keys

TTL_MS = 30_000
LIVE_WITHIN_MS = 10_000
"""A host whose last heartbeat is older is not live."""
FRESH_WITHIN_MS = 5_000
"""A stream's state that is older may be overwritten by another host."""
INIT, READY, DRAINING = "init", "ready", "draining"
_FORGET_AFTER_MS = 86_400_000
ACTIVITY_KEPT = 2_000
"""Edges of an exchange that its stream of activity holds, about."""

_TIME = "return redis.call('TIME')"
_REGISTER = """
local owner = redis.call('HGET', KEYS[1], 'owner')
if owner and owner ~= ARGV[1] and owner ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'owner', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
"""


@dataclass(frozen=True, slots=True)
class Host:
    """A stream host's newest heartbeat. `state` is init, ready or draining.

    `exchanges` tells per exchange that it serves: state, reason, may_run (does geography allow it), and the epoch of
    the lease it holds. `rtt_ms` is how long the state Redis took to answer, `clock_offset_ms` how far the host's clock
    is ahead of that server's, right within `clock_uncertainty_ms`; None from a host of an older version.
    """

    name: str
    owner: str
    state: str
    region: str
    reason: str
    updated_ms: int
    exchanges: Mapping[str, Mapping[str, Any]]
    version: str = ""
    started_ms: int | None = None
    rtt_ms: float | None = None
    clock_offset_ms: float | None = None
    clock_uncertainty_ms: float | None = None

    def may_run(self, exchange: str) -> bool:
        """Does it serve the exchange from a place where that is allowed?"""
        return bool(self.exchanges.get(exchange, {}).get("may_run"))


@dataclass(frozen=True, slots=True)
class Change:
    """One edge that an exchange's stream took: who or what moved it, why, and when (ms UTC)."""

    exchange: str
    before: str
    event: str
    state: str
    actor: str
    reason: str
    host: str
    epoch: int | None
    at_ms: int


@unavailable()
def register(name: str, owner: str, *, instead_of: str = "") -> bool:
    """Take a host name; False when another owner has it (other than the dead `instead_of`)."""
    return bool(state_redis().eval(_REGISTER, 1, keys.host(name), owner, instead_of, TTL_MS))


@unavailable()
def beat(name: str, fields: Mapping[str, Any]) -> None:
    """A host's heartbeat; `fields` are those of `Host`, `exchanges` as a mapping."""
    clock, now_ms = _clock(name), _now_ms()
    told = {**fields, **clock, "exchanges": json.dumps(fields["exchanges"]), "updated_ms": now_ms}
    state_redis().hset(keys.host(name), mapping=told)
    state_redis().pexpire(keys.host(name), TTL_MS)
    state_redis().zadd(keys.hosts(), {name: now_ms})
    state_redis().zremrangebyscore(keys.hosts(), 0, now_ms - _FORGET_AFTER_MS)


@unavailable()
def forget(name: str) -> None:
    """A host that ends in good order leaves no heartbeat."""
    state_redis().zrem(keys.hosts(), name)
    state_redis().delete(keys.host(name))


@unavailable()
def host(name: str) -> Host | None:
    """A host's newest heartbeat, None when it has none."""
    found = _text(state_redis().hgetall(keys.host(name)))
    if "updated_ms" not in found:
        return None
    return Host(
        name=name,
        owner=found["owner"],
        state=found["state"],
        region=found["region"],
        reason=found["reason"],
        updated_ms=int(found["updated_ms"]),
        exchanges=json.loads(found["exchanges"]),
        version=found.get("version", ""),
        started_ms=int(found["started_ms"]) if "started_ms" in found else None,
        **{name: float(found[name]) if name in found else None for name in _CLOCK_FIELDS},
    )


@unavailable()
def live_hosts() -> list[Host]:
    """Hosts whose heart beats, by name."""
    names = state_redis().zrangebyscore(keys.hosts(), _now_ms() - LIVE_WITHIN_MS, "+inf")
    found = [host(name.decode()) for name in sorted(names)]
    return [h for h in found if h is not None]


def choose_host(exchange: str) -> str:
    """Who should get a command for an exchange: its holder, else a live host that may run it, else a
    live one that serves it (and will say why it may not), else "" for whoever comes up first."""
    live = [h for h in live_hosts() if exchange in h.exchanges and h.state != DRAINING]
    held = lease.holder(exchange)
    ranked = sorted(live, key=lambda h: (held is None or h.owner != held.owner, not h.may_run(exchange)))
    return ranked[0].name if ranked else ""


def is_live(held: lease.Lease) -> bool:
    """Will the process that holds a lease keep it? One that drains, is dead or gives no sign of life will not."""
    if lifeline.is_dead(held.owner):
        return False
    return any(h.owner == held.owner and h.state != DRAINING for h in live_hosts())


@unavailable()
def stream_state(exchange: str) -> dict[str, str]:
    """The fields of `stream:{exchange}`; empty when no host has told anything for half a minute."""
    return _text(state_redis().hgetall(keys.stream(exchange)))


@unavailable()
def tell_stream(exchange: str, fields: Mapping[str, Any]) -> bool:
    """Write an exchange's state, unless it is another host's to tell; None becomes "".

    It is another's while that one holds the lease, or said more than "idle" within the last seconds.
    """
    told = _text(state_redis().hgetall(keys.stream(exchange)))
    is_fresh = int(told.get("updated_ms", 0)) > _now_ms() - FRESH_WITHIN_MS
    if is_fresh and told["host"] != fields["host"] and fields["epoch"] is None:
        is_more = told["state"] == State.IDLE and fields["state"] != State.IDLE
        if told["epoch"] or not is_more:
            return False
    mapping = {name: "" if value is None else value for name, value in fields.items()}
    state_redis().hset(keys.stream(exchange), mapping={**mapping, "updated_ms": _now_ms()})
    state_redis().pexpire(keys.stream(exchange), TTL_MS)
    return True


@unavailable()
def announce(change: Change) -> None:
    """Keep it for the exchange's activity, and wake whoever watches."""
    message = json.dumps({"v": 1, "kind": "state", **asdict(change)})
    state_redis().xadd(keys.activity(change.exchange), {"edge": message}, maxlen=ACTIVITY_KEPT, approximate=True)
    state_redis().publish(keys.channel_exchange(change.exchange), message)


_CLOCK_FIELDS = ("rtt_ms", "clock_offset_ms", "clock_uncertainty_ms")


def _clock(name: str) -> dict[str, float]:
    """Ask the server that holds this host's heartbeat for its time, and how that compares with ours."""
    sent_ns, began_ns = time.time_ns(), time.monotonic_ns()
    second, micro = state_redis().eval(_TIME, 1, keys.host(name))
    took_ns = time.monotonic_ns() - began_ns
    ahead_ns = sent_ns + took_ns // 2 - (int(second) * 1_000_000 + int(micro)) * 1_000
    return dict(zip(_CLOCK_FIELDS, (round(ns / 1e6, 2) for ns in (took_ns, ahead_ns, took_ns / 2)), strict=True))


def _text(found: Mapping[bytes, bytes]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in found.items()}


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
