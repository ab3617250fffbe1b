"""What may be asked of an exchange, REST calls and connections: for all processes, counted in the state Redis.

A venue counts weight over a window that nobody here can align with: its clock is not ours, and some windows
begin with the first request. So a window is cut into slots, nine where the limit allows, each holding a tenth
of it: however a window lies, the ten slots it touches hold no more than the limit.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from exchanges.allowance import Allowance
from exchanges.state import state_redis, unavailable
from livermore.core import keys
from livermore.core.errors import InvalidInput, RateLimited

PATIENCE_S = 5.0
"""How long a call waits for its turn; below a task's time limit, and longer waits are better spent queued."""

CONNECT_WINDOW_S = 300
"""Of the row's `connects_per_5min`."""

BACKGROUND_SHARE = 0.4
"""Of a window: history and repairs must leave room for what a person or a running stream waits for."""

_SHARED_FROM_S = 10
"""In shorter windows nobody is shut out for long: every call gets its turn within a slot or two."""

_TENTH = 10
_CLOSED_KEPT_S = 7 * 86_400  # the longest ban a venue documents is three days
_KEPT_MS = 10_000
_SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Pool:
    """A counter that begins anew `parts` times in every window of `window_s`, aligned to the epoch."""

    name: str
    window_s: int
    parts: int
    allowed: int

    def index(self, now_ns: int) -> int:
        """The number of the period that holds a moment."""
        return now_ns * self.parts // (self.window_s * _SECOND)

    def begin_ns(self, index: int) -> int:
        """When a period begins."""
        return -(-index * self.window_s * _SECOND // self.parts)

    @property
    def kept_ms(self) -> int:
        """How long its counter is remembered; longer than it counts."""
        return 2 * self.window_s * 1000 // self.parts + _KEPT_MS


@dataclass(frozen=True, slots=True)
class Spending:
    """Of a budget of `allowed` per `window_s`, `spent` since `from_ms`; `told` is what the venue last said to have
    counted in a window of its own, at `told_ms`. Nothing is spent before `closed_until_ms`. Times are ms UTC."""

    kind: str
    window_s: int
    allowed: int
    spent: int
    from_ms: int
    told: int | None
    told_ms: int | None
    closed_until_ms: int | None


class SharedBudget:
    """Fulfils `Budget`: `weight` per `window_s` of an exchange for all processes together.

    `kind` says of what, each being counted and closed on its own. `share` is the part of each window that this
    user may take; `patience_s` how long a call may wait.
    """

    def __init__(
        self,
        exchange: str,
        weight: int,
        window_s: int,
        *,
        kind: str = "rest",
        share: float = 1.0,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self.exchange = exchange
        self.kind = kind
        self.patience_s = patience_s
        per_slot = max(1, weight // _TENTH)
        slots = max(1, weight // per_slot - 1)
        window_s = max(1, window_s)
        self._whole = Pool(kind, window_s, 1, slots * per_slot)
        self._slots = Pool(f"{kind}-slot", window_s, slots, per_slot)
        self._pools = [self._whole, self._slots]
        if share < 1 and window_s >= _SHARED_FROM_S:
            self._pools.append(Pool(f"{kind}-background", window_s, 1, int(self._whole.allowed * share)))

    def allowance(self) -> Allowance:
        """What this user may take, and what of the running window is taken. Raises `StoreUnavailable`."""
        pool = min((p for p in self._pools if p is not self._slots), key=lambda p: p.allowed)
        with unavailable():
            spent = state_redis().get(keys.limit(self.exchange, pool.name, pool.index(time.time_ns())))
        return Allowance(pool.window_s, pool.allowed, self._slots.parts, self._slots.allowed, int(spent or 0))

    def spending(self) -> Spending:
        """How much of the running window is spent, whoever spent it. Raises `StoreUnavailable`."""
        now_ns = time.time_ns()
        index, place = self._whole.index(now_ns), (self.exchange, self.kind)
        with unavailable():
            pipe = state_redis().pipeline(transaction=False)
            pipe.get(keys.limit(*place, index)).get(keys.limit(*place, "told"))
            spent, said, closed_ms = pipe.zscore(keys.limit(*place, "closed"), "until").execute()
        used, told_ms = map(int, said.split(b"|")) if said else (None, None)
        is_closed = closed_ms is not None and closed_ms > now_ns // 1_000_000
        return Spending(
            self.kind, self._whole.window_s, self._whole.allowed, int(spent or 0),
            self._whole.begin_ns(index) // 1_000_000, used, told_ms, int(closed_ms) if is_closed else None,
        )  # fmt: skip

    def spend(self, weight: int) -> None:
        """Take `weight`, waiting until a slot has room for it.

        Raises `RateLimited` when that would take longer than our patience, `InvalidInput` for a weight that
        no window can hold, and `StoreUnavailable`.
        """
        most = min(pool.allowed for pool in self._pools if pool is not self._slots)
        if weight > most:
            raise InvalidInput(
                f"a call of weight {weight} does not fit the {most} that {self.exchange} allows here per "
                f"{self._whole.window_s} s; raise its limit of {self.kind}"
            )
        deadline_ns = time.time_ns() + int(self.patience_s * _SECOND)
        while free_ns := self._try(weight):
            if free_ns > deadline_ns:
                raise RateLimited(f"{self.exchange}: its {self.kind} budget is used up", -(-free_ns // 1_000_000))
            time.sleep(max(0.0, (free_ns - time.time_ns()) / _SECOND))

    def told(self, used: int) -> None:
        """The venue has counted `used` in its running window: ours is raised when it is lower.

        An answer that comes soon after a window's begin may still speak of the one before and is ignored.
        Raises `StoreUnavailable`.
        """
        now_ns = time.time_ns()
        with unavailable():
            said = keys.limit(self.exchange, self.kind, "told")
            state_redis().set(said, f"{used}|{now_ns // 1_000_000}", px=self._whole.kept_ms)
        index = self._whole.index(now_ns)
        if now_ns - self._whole.begin_ns(index) < self._whole.window_s * _SECOND // _TENTH:
            return
        key = keys.limit(self.exchange, self._whole.name, index)
        with unavailable():
            unknown = used - int(state_redis().get(key) or 0)
            if unknown > 0:
                self._add({key: self._whole}, unknown).execute()

    def close(self, until_ms: int) -> None:
        """The venue refused: nobody sends before `until_ms`; an earlier, longer ban stays. Raises
        `StoreUnavailable`."""
        key = keys.limit(self.exchange, self.kind, "closed")
        with unavailable():
            pipe = state_redis().pipeline(transaction=False)
            pipe.zadd(key, {"until": until_ms}, gt=True)
            pipe.expire(key, _CLOSED_KEPT_S)
            pipe.execute()

    def _try(self, weight: int) -> int:
        """0 when `weight` was taken, else when to try again (ns)."""
        now_ns = time.time_ns()
        counters = {keys.limit(self.exchange, p.name, p.index(now_ns)): p for p in self._pools}
        with unavailable():
            asking = self._add(counters, weight).zscore(keys.limit(self.exchange, self.kind, "closed"), "until")
            *counts, closed_ms = asking.execute()
            free_ns = int(closed_ms or 0) * 1_000_000
            for pool, count in zip(counters.values(), counts[::2], strict=True):
                # A call heavier than a slot gets a slot to itself.
                if count > pool.allowed and not (pool is self._slots and count == weight):
                    free_ns = max(free_ns, pool.begin_ns(pool.index(now_ns) + 1))
            slot_end_ns = self._slots.begin_ns(self._slots.index(now_ns) + 1)
            if time.time_ns() >= slot_end_ns:  # we were held up: what is sent now belongs to a later slot
                free_ns = max(free_ns, slot_end_ns)
            if free_ns <= now_ns:
                return 0
            self._add(counters, -weight).execute()
        return free_ns

    def _add(self, counters: dict[str, Pool], weight: int) -> Any:
        pipe = state_redis().pipeline(transaction=False)
        for key, pool in counters.items():
            pipe.incrby(key, weight)
            pipe.pexpire(key, pool.kept_ms)
        return pipe
