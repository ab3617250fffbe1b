"""How long requests take within a REST budget: arithmetic on its slots and windows, without a clock."""

from __future__ import annotations

from dataclasses import dataclass

_SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a budget lets through: `per_window` in each window, of which no slot may take more than `per_slot`.

    Windows of `window_s` are aligned to the epoch and cut into `slots`. `spent` was taken from the running one.
    """

    window_s: int
    per_window: int
    slots: int
    per_slot: int
    spent: int = 0

    def seconds(self, calls: int, weight: int, call_s: float, now_ns: int) -> float:
        """How long so many calls take from now, one after the other, each as early as it may be made."""
        window_ns, call_ns = self.window_s * _SECOND, max(1, int(call_s * _SECOND))
        per_slot, per_window = max(1, self.per_slot // weight), max(1, self.per_window // weight)
        at_ns, left = now_ns, calls
        window, room = at_ns // window_ns, max(0, self.per_window - self.spent) // weight
        while left > 0:
            if window != at_ns // window_ns:
                window, room = at_ns // window_ns, per_window
            slot = at_ns * self.slots // window_ns
            slot_end_ns = -(-(slot + 1) * window_ns // self.slots)
            now = min(left, room, per_slot, -(-(slot_end_ns - at_ns) // call_ns))
            left, room, at_ns = left - now, room - now, at_ns + now * call_ns
            if left and not room:
                at_ns = max(at_ns, (window + 1) * window_ns)
            elif left:
                at_ns = max(at_ns, slot_end_ns)
        return (at_ns - now_ns) / _SECOND
