"""What fetching history takes, before anything is asked: which bars are missing, in how many requests. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from exchanges.allowance import Allowance
from exchanges.venue import KlinePage
from livermore.core.candle import Timeframe

CALL_S, BAR_S = 0.1, 0.0001
"""What a request is thought to take while there is no experience: on its way, and for each bar to be stored."""


@dataclass(frozen=True, slots=True)
class Page:
    """The bars of one request, `[from_ms, to_ms)`; both ends are missing ones, `missing` in all."""

    from_ms: int
    to_ms: int
    missing: int


@dataclass(frozen=True, slots=True)
class Series:
    """One symbol's bars of one timeframe in `[from_ms, to_ms)`, and the pages that they lack, newest first."""

    symbol: str
    native: str
    timeframe: Timeframe
    from_ms: int
    to_ms: int
    pages: tuple[Page, ...]

    @property
    def missing(self) -> int:
        """How many bars it lacks."""
        return sum(page.missing for page in self.pages)


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is to be fetched of one exchange, in this order."""

    exchange: str
    weight_per_call: int
    series: Sequence[Series]

    @property
    def calls(self) -> int:
        """How many requests that are."""
        return sum(len(series.pages) for series in self.series)

    @property
    def missing(self) -> int:
        """How many bars that are."""
        return sum(series.missing for series in self.series)

    @property
    def weight(self) -> int:
        """What the requests cost."""
        return self.calls * self.weight_per_call

    def seconds(self, allowance: Allowance, now_ns: int, *, call_s: float | None = None, done: int = 0) -> float:
        """How long what is left takes within this allowance, where each request takes `call_s` by experience."""
        guess_s = CALL_S + BAR_S * self.missing / max(1, self.calls)
        left = max(0, self.calls - done)
        return allowance.seconds(left, self.weight_per_call, guess_s if call_s is None else call_s, now_ns)


def pages(
    present: Collection[int],
    from_ms: int,
    to_ms: int,
    timeframe: Timeframe,
    page: KlinePage,
    *,
    ours: Collection[int] = (),
) -> list[Page]:
    """The fewest requests that bring every bar of `[from_ms, to_ms)` that is not present, newest first.

    A page may span bars that are present; it begins and ends with a missing one. Where one of `ours` follows, which
    we folded ourselves, the request has room for that, too, so that both can be compared.
    """
    step, most = timeframe.ms, page.most(timeframe)
    known = frozenset(present)
    found: list[Page] = []
    end_ms = count = first = room = 0
    for open_ms in range(to_ms - to_ms % step - step, from_ms - 1, -step):
        if open_ms in known:
            continue
        if count and open_ms < end_ms - room * step:
            found.append(Page(first, end_ms, count))
            count = 0
        if not count:
            end_ms = open_ms + step
            room = max(1, most - (end_ms in ours))
        first, count = open_ms, count + 1
    if count:
        found.append(Page(first, end_ms, count))
    return found
