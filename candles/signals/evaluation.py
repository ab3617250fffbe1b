"""What a kind of signal says about one pair at one moment: the input of the lifecycle."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from candles.signals.guards import Suppression
from candles.signals.reference import Rate, move_bps
from candles.signals.section import CrossSection, Market


class Kind(StrEnum):
    """The kinds of signals that exist; each has one module and one line in the registry."""

    LEADER_MOVE = "LEADER_MOVE"


class Direction(StrEnum):
    """Which way the leader moved."""

    UP = "up"
    DOWN = "down"

    @property
    def sign(self) -> int:
        """+1 or −1."""
        return 1 if self is Direction.UP else -1


class Outcome(StrEnum):
    """How an event ended."""

    CONVERGED = "converged"
    REVERSED = "reversed"
    EXPIRED = "expired"
    INVALIDATED = "invalidated"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What applied when an evaluation was made; shown with the event."""

    z: float
    min_move_bps: float
    min_remaining_bps: float
    version: int


@dataclass(frozen=True, slots=True)
class Prices:
    """Leader's and follower's price in one unit (their common quote, or USD)."""

    leader: float
    follower: float


@dataclass(frozen=True, slots=True)
class Figures:
    """Moves since some earlier prices. `catch_up` is the follower's share of the leader's move (None when
    the leader stands still), `remaining_bps` what the follower still lacks in the direction of the event."""

    leader_bps: float
    follower_bps: float
    catch_up: float | None
    remaining_bps: float


def figures(now: Prices, before: Prices, direction: Direction) -> Figures:
    """The moves from `before` to `now`."""
    leader, follower = move_bps(now.leader, before.leader), move_bps(now.follower, before.follower)
    return Figures(
        leader_bps=leader,
        follower_bps=follower,
        catch_up=follower / leader if leader else None,
        remaining_bps=direction.sign * (leader - follower),
    )


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One pair, window and direction at `now_ms`.

    `quoted` are the reference prices of leader and follower, each in its own quote (the last one known where
    stale). `now` is None when the two prices cannot be compared, `before` when there is no price one window ago.
    `holds` tells that every opening condition is met and nothing speaks against it; `suppressed` names what
    spoke against an otherwise good candidate, `broken` why the pair cannot be measured now.
    """

    kind: Kind
    base: str
    leader: Market
    follower: Market
    direction: Direction
    window_s: int
    now_ms: int
    quoted: tuple[Decimal, Decimal]
    now: Prices | None
    before: Prices | None
    sigma_bps: float | None
    rates: tuple[Rate | None, Rate | None]
    thresholds: Thresholds
    holds: bool = False
    suppressed: Suppression | None = None
    broken: Suppression | None = None

    @property
    def identity(self) -> str:
        """What there may be only one active event of."""
        return identity(self.kind, self.base, self.leader, self.follower, self.direction, self.window_s)


def identity(
    kind: Kind, base: str, leader: Market, follower: Market, direction: Direction, window_s: int
) -> str:
    """`kind|base|leader|follower|direction|window`."""
    return f"{kind}|{base}|{leader.leg.key}|{follower.leg.key}|{direction}|{window_s}"


@dataclass(frozen=True, slots=True)
class Rules:
    """THE OBLIGATION of a kind.

    `evaluate(section, watched)` returns an evaluation of every candidate and of every watched identity that
    can be evaluated. `onset_ms(evaluation)` is the exchange time at which the opening move began: a property
    of the prices, not of when somebody looked. `outcome(figures, peak_bps, age_ms, evaluation)` says whether
    an event is over, from the moves since its opening prices and the leader's largest move since then.
    """

    kind: Kind
    evaluate: Callable[[CrossSection, Collection[str]], list[Evaluation]]
    onset_ms: Callable[[Evaluation], int]
    outcome: Callable[[Figures | None, float, int, Evaluation], Outcome | None]
    cool_down_ms: Callable[[int], int]
