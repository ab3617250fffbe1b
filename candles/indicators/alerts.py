"""When a MACD-V is worth an alert: levels, reversals, and what is remembered between bars (indicators.md §3.5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID, uuid5

from candles.indicators.reading import Direction

KIND = "macdv"
REMEMBERED = 12
"""Bars that are judged again when one of them is revised; comparisons with the venue come within four."""
_IDENTITIES = UUID("5c2a6e0e-6b0d-5b51-9a52-6d1c0a1f5a3e")


class Reversal(StrEnum):
    """The end of an extreme move, as an alert's label."""

    OVERSOLD = "reversal_oversold"
    OVERBOUGHT = "reversal_overbought"


@dataclass(frozen=True, slots=True)
class Rules:
    """What an operator may choose.

    `levels` are heights above zero and mean both signs. A level that was crossed waits until the MACD-V has
    come back by `rearm_band` points. `buffers`: the share of the height that the histogram must exceed for a
    reversal from oversold and from overbought. `cool_down_ms` is in time of bars.
    """

    levels: tuple[float, ...] = (150.0, 200.0, 250.0, 300.0, 350.0, 400.0)
    rearm_band: float = 10.0
    extreme: float = 150.0
    buffers: tuple[float, float] = (0.05, 0.03)
    cool_down_ms: int = 300_000
    needs_converged: bool = True

    def buffer(self, macdv: float) -> float:
        """The histogram at which a move of this height turns: +10 at −200, −6 at +200."""
        return self.buffers[0] * -macdv if macdv < 0 else -self.buffers[1] * macdv


@dataclass(frozen=True, slots=True)
class Bar:
    """A closed bar's values; `blocked` says why it must raise nothing, `revision` is -1 where no candle is."""

    open_ms: int
    revision: int
    macdv: float | None
    hist: float | None
    blocked: str | None = None


class Hit(NamedTuple):
    """A rule that a bar fulfilled with this value, after `previous`. `passed` are the levels crossed with it."""

    bar: Bar
    value: float
    label: str
    direction: Direction
    passed: tuple[float, ...]
    previous: float
    previous_label: str | None


@dataclass(frozen=True, slots=True)
class Standing:
    """What is remembered after a bar.

    `crossed` are signed levels not armed again yet, `ended` the labels of reversals already told of this
    move, `fired` when (open of the bar, ms) each label came last, `label` the newest of all.
    """

    macdv: float | None = None
    crossed: tuple[float, ...] = ()
    ended: tuple[str, ...] = ()
    fired: Mapping[str, int] = field(default_factory=dict)
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Memory:
    """Of one series: the newest bars as they were judged, and how it stood before them."""

    base: Standing
    bars: tuple[Bar, ...]

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        base = self.base
        return {
            "base": [base.macdv, list(base.crossed), list(base.ended), dict(base.fired), base.label],
            "bars": [[b.open_ms, b.revision, b.macdv, b.hist, b.blocked] for b in self.bars],
        }

    @classmethod
    def from_dict(cls, said: Mapping[str, Any]) -> Memory:
        """Read what `to_dict` wrote."""
        macdv, crossed, ended, fired, label = said["base"]
        base = Standing(macdv, tuple(crossed), tuple(ended), fired, label)
        return cls(base, tuple(Bar(*bar) for bar in said["bars"]))


@dataclass(frozen=True, slots=True)
class Judgement:
    """What came of looking at a series: `hits` of the bars from `since_ms` on; None: nothing was new."""

    memory: Memory
    since_ms: int | None = None
    hits: tuple[Hit, ...] = ()


def judge(rules: Rules, memory: Memory | None, bars: Sequence[Bar]) -> Judgement:
    """Judge what is new or revised among these consecutive closed bars, and whatever follows it.

    Without a memory that joins them the newest bar is only recorded. Bars older than those remembered are
    let be; so is a window that ends before the memory does. Raises `IndexError` without bars.
    """
    if memory is None or memory.bars[-1].open_ms < bars[0].open_ms:
        return Judgement(Memory(Standing(), (bars[-1],)))
    if bars[-1].open_ms < memory.bars[-1].open_ms:
        return Judgement(memory)
    judged = {bar.open_ms: bar for bar in memory.bars}
    since_ms = next((bar.open_ms for bar in bars if _is_news(bar, judged, memory.bars[-1].open_ms)), None)
    if since_ms is None:
        return Judgement(memory)
    kept = [bar for bar in memory.bars if bar.open_ms < since_ms]
    return _fold(rules, memory.base, [*kept, *(bar for bar in bars if bar.open_ms >= since_ms)], since_ms)


def _is_news(bar: Bar, judged: Mapping[int, Bar], newest_ms: int) -> bool:
    before = judged.get(bar.open_ms)
    if before is None:
        return bar.open_ms > newest_ms
    is_freed = bar.revision == before.revision and before.blocked is not None and bar.blocked != before.blocked
    return bar.revision > before.revision or is_freed


def _fold(rules: Rules, base: Standing, bars: Sequence[Bar], since_ms: int) -> Judgement:
    standing, hits = base, []
    forgotten = len(bars) - REMEMBERED
    for number, bar in enumerate(bars, start=1):
        standing, found = step(rules, standing, bar)
        if bar.open_ms >= since_ms:
            hits += found
        if number == forgotten:
            base = standing
    return Judgement(Memory(base, tuple(bars[-REMEMBERED:])), since_ms, tuple(hits))


def step(rules: Rules, before: Standing, bar: Bar) -> tuple[Standing, list[Hit]]:
    """How a series stands after one more bar, and what the bar fulfilled; the first value only records."""
    macdv, previous = bar.macdv, before.macdv
    if macdv is None:
        return before, []
    if previous is None:
        return replace(before, macdv=macdv), []
    waiting = tuple(level for level in before.crossed if not _is_back(level, macdv, rules.rearm_band))
    passed = tuple(level for level in _between(rules, previous, macdv) if level not in waiting)
    after = replace(before, macdv=macdv, crossed=(*waiting, *passed))
    hits: list[Hit] = []
    if passed and _is_cool(rules, before, level := level_label(passed[-1]), bar):
        hits.append(Hit(bar, macdv, level, _direction(level), passed, previous, after.label))
        after = _told(after, level, bar, ended=())
    reversal = _reversal(rules, previous, bar)
    if reversal is not None and reversal not in after.ended and _is_cool(rules, before, reversal, bar):
        hits.append(Hit(bar, macdv, str(reversal), _direction(reversal), (), previous, after.label))
        after = _told(after, str(reversal), bar, ended=(*after.ended, str(reversal)))
    return after, hits


def _told(of: Standing, label: str, bar: Bar, *, ended: tuple[str, ...]) -> Standing:
    return replace(of, ended=ended, fired={**of.fired, label: bar.open_ms}, label=label)


def standing(rules: Rules, memory: Memory) -> Standing:
    """How a series stands after the newest bar that is remembered."""
    after = memory.base
    for bar in memory.bars:
        after, _ = step(rules, after, bar)
    return after


def level_label(level: float) -> str:
    """`level_-200`, `level_+150`."""
    return f"level_{level:+g}"


def identity(exchange: str, symbol: str, timeframe: str, label: str, open_ms: int) -> str:
    """The same alert has the same id, whoever finds it and however often."""
    return str(uuid5(_IDENTITIES, f"{KIND}|{exchange}|{symbol}|{timeframe}|{label}|{open_ms}"))


def _is_back(level: float, macdv: float, band: float) -> bool:
    return macdv >= level + band if level < 0 else macdv <= level - band


def _between(rules: Rules, previous: float, macdv: float) -> list[float]:
    """The signed levels that a move crossed outwards, the deepest last."""
    levels = sorted(rules.levels)
    if macdv < previous:
        return [-level for level in levels if previous >= -level > macdv]
    return [level for level in levels if previous <= level < macdv]


def _reversal(rules: Rules, previous: float, bar: Bar) -> Reversal | None:
    macdv, hist = bar.macdv, bar.hist
    if macdv is None or hist is None or abs(macdv) <= rules.extreme:
        return None
    if macdv < 0:
        return Reversal.OVERSOLD if previous < -rules.extreme and hist > rules.buffer(macdv) else None
    return Reversal.OVERBOUGHT if previous > rules.extreme and hist < rules.buffer(macdv) else None


def _is_cool(rules: Rules, before: Standing, label: str, bar: Bar) -> bool:
    fired_ms = before.fired.get(label)
    return fired_ms is None or bar.open_ms - fired_ms >= rules.cool_down_ms


def _direction(label: str) -> Direction:
    return Direction.UP if "+" in label or label == Reversal.OVERSOLD else Direction.DOWN
