"""What a kind of signal says about one pair at one moment: the input of the lifecycle."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Generic, Protocol, TypeVar

from candles.signals.guards import Suppression
from candles.signals.reference import Rate, move_bps
from candles.signals.section import Market

Number = float | int | str | list[str] | None


class Kind(StrEnum):
    """The kinds of signals that exist; each has one module and one line in the registry."""

    LEADER_MOVE = "LEADER_MOVE"
    PRICE_GAP = "PRICE_GAP"
    INDICATOR_LEAD = "INDICATOR_LEAD"
    LEAD_LAG = "LEAD_LAG"
    PREMIUM = "PREMIUM"
    STABLE_DEPEG = "STABLE_DEPEG"
    CONFLUENCE = "CONFLUENCE"
    VENUE_STALE = "VENUE_STALE"


class Direction(StrEnum):
    """Which way the leader moved; `none` where an event is not about a move."""

    UP = "up"
    DOWN = "down"
    NONE = "none"

    @property
    def sign(self) -> int:
        """+1, −1 or 0."""
        return {Direction.UP: 1, Direction.DOWN: -1}.get(self, 0)


WAYS = (Direction.UP, Direction.DOWN)


class Outcome(StrEnum):
    """How an event ended."""

    CONVERGED = "converged"
    REVERSED = "reversed"
    EXPIRED = "expired"
    INVALIDATED = "invalidated"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What applied when an evaluation was made; shown with the event.

    `named` are those of a kind that has others than a move's.
    """

    z: float = 0.0
    min_move_bps: float = 0.0
    min_remaining_bps: float = 0.0
    version: int = 1
    named: Mapping[str, Number] | None = None


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

    A kind whose events are not about a move since some prices tells `size_bps`, the size that it is about, and
    `measures` for the event, `is_over` when its closing condition is met, and `stays` while it has not fallen so
    far that a candidate must begin again. `subject` names leader and follower in the identity where these are
    not the two legs. `gross_bps` is what selling on the leader and buying locally would bring before fees.
    `onset` tells when it began; it is asked when the event opens.
    """

    kind: Kind
    base: str
    leader: Market
    follower: Market | None
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
    timeframe: str | None = None
    size_bps: float | None = None
    measures: Mapping[str, Number] | None = None
    is_over: bool = False
    stays: bool = False
    subject: tuple[str, str] | None = None
    gross_bps: float | None = None
    onset: Callable[[], int] | None = None

    @property
    def local(self) -> Market:
        """The market in whose terms the event is told."""
        return self.follower or self.leader

    @property
    def identity(self) -> str:
        """What there may be only one active event of."""
        names = self.subject or (self.leader.leg.key, self.local.leg.key)
        return identity(self.kind, self.base, names, self.direction, self.timeframe or self.window_s)


def identity(kind: Kind, base: str, names: tuple[str, str], direction: Direction, span: int | str) -> str:
    """`kind|base|leader|follower|direction|window or timeframe`."""
    return f"{kind}|{base}|{names[0]}|{names[1]}|{direction}|{span}"


class Seen(Protocol):
    """Whatever a kind looks at: it is of one moment."""

    @property
    def now_ms(self) -> int: ...


Section = TypeVar("Section", bound=Seen)


@dataclass(frozen=True, slots=True)
class Rules(Generic[Section]):
    """THE OBLIGATION of a kind.

    `evaluate(section, watched)` returns an evaluation of every candidate and of every watched identity that
    can be evaluated. `onset_ms(evaluation)` is the exchange time at which the opening move began: a property
    of the prices, not of when somebody looked. `outcome(figures, peak_bps, age_ms, evaluation)` says whether
    an event is over, from the moves since its opening prices and the leader's largest move since then.

    A candidate must hold for `confirmation_ms`, an outcome for its `closing_ms`. `fires_once`: it is not updated.
    """

    kind: Kind
    evaluate: Callable[[Section, Collection[str]], list[Evaluation]]
    onset_ms: Callable[[Evaluation], int]
    outcome: Callable[[Figures | None, float, int, Evaluation], Outcome | None]
    cool_down_ms: Callable[[int], int]
    confirmation_ms: int = 1_000
    closing_ms: Mapping[Outcome, int] = field(default_factory=lambda: MappingProxyType({}))
    fires_once: bool = False


def told_onset_ms(of: Evaluation) -> int:
    """When it began, as the evaluation itself knows."""
    return of.now_ms if of.onset is None else of.onset()


def ended(lifetime_ms: int) -> Callable[[Figures | None, float, int, Evaluation], Outcome | None]:
    """The outcome of a kind that measures a size: what cannot be measured is invalid, what closed has converged."""

    def outcome(since: Figures | None, peak_bps: float, age_ms: int, of: Evaluation) -> Outcome | None:
        if of.broken is not None or since is None:
            return Outcome.INVALIDATED
        if of.is_over:
            return Outcome.CONVERGED
        return Outcome.EXPIRED if age_ms > lifetime_ms else None

    return outcome
