"""What is remembered of a signal identity between evaluations, as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from candles.signals.evaluation import Prices
from candles.signals.event import Event


@dataclass(frozen=True, slots=True)
class Active:
    """An open event.

    `before` are the prices its moves are measured from (None: it is not about a move), `entry` the local price it
    could be acted on at. `ending` is an outcome that has been due since `ending_ms` and is not final yet.
    `peak_leader_bps` and `peak_remaining_bps` are the largest so far, `told_peak_bps` and `told_ms` the last
    published. `best_bps` and `worst_bps` are how far the local price went for and against it since `entry`,
    looked at up to `seen_ms`. `event` is the last one published.
    """

    event_id: str
    onset_ms: int
    opened_ms: int
    before: Prices | None
    entry: float
    peak_leader_bps: float
    peak_remaining_bps: float
    told_peak_bps: float
    told_ms: int
    best_bps: float
    worst_bps: float
    seen_ms: int
    event: Event
    ending: str | None = None
    ending_ms: int = 0


@dataclass(frozen=True, slots=True)
class State:
    """One identity: waiting for confirmation since `candidate_ms`, or active, or cooling down, or nothing."""

    candidate_ms: int | None = None
    active: Active | None = None
    cool_until_ms: int | None = None
    suppressed: str | None = None

    def is_idle(self, now_ms: int) -> bool:
        """Nothing is worth remembering."""
        is_cooling = self.cool_until_ms is not None and now_ms < self.cool_until_ms
        return self.candidate_ms is None and self.active is None and self.suppressed is None and not is_cooling

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON. The event is not copied: it is most of it, and nobody changes it."""
        active = self.active
        told = None if active is None else {of.name: getattr(active, of.name) for of in fields(active)}
        if told is not None and told["before"] is not None:
            told["before"] = asdict(told["before"])
        return {
            "candidate_ms": self.candidate_ms,
            "active": told,
            "cool_until_ms": self.cool_until_ms,
            "suppressed": self.suppressed,
        }

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> State:
        """Read what `to_dict` wrote."""
        active = stored["active"]
        if active is not None:
            before = active["before"]
            active = Active(**{**active, "before": None if before is None else Prices(**before)})
        return cls(stored["candidate_ms"], active, stored["cool_until_ms"], stored["suppressed"])
