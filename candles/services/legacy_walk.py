"""The predecessor's keys of an exchange, one after the other, each with the key of ours that it belongs to."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain
from typing import NamedTuple

from django.contrib.auth import get_user_model

from candles import pool, window
from candles.legacy_models import LegacyMigration
from exchanges.models import Exchange
from exchanges.state import state_redis, unavailable
from livermore.core import keys, legacy_keys
from livermore.core.candle import Timeframe
from livermore.core.errors import InvalidInput
from livermore.core.legacy_keys import LegacyKey
from symbols.models import ExchangeSymbol

AT_ONCE = 50
"""So many keys are one step: between two steps the throttle waits and progress is told."""
SCANNED = 1_000
SHOWN = 5


class Stays(StrEnum):
    """Why a key of the predecessor's has no place among ours. Only an unknown symbol is a reason to stop."""

    TIMEFRAME = "a timeframe that does not exist any more"
    SYMBOL = "unknown symbol"
    USER = "not in the shared pool, and there is no such user"


class Series(NamedTuple):
    """A key of the predecessor's and the key of ours that its bars belong to.

    `life_s` is 0 in the shared pool; `may_lapse` where the user does not follow the symbol, so that his key goes.
    """

    key: LegacyKey
    symbol: str
    timeframe: Timeframe
    target: str
    life_s: int = 0
    may_lapse: bool = False


@dataclass(slots=True)
class Report:
    """What came of a walk over an exchange's keys. `stays` and `examples` are by reason."""

    exchange: str
    total: int = 0
    keys: int = 0
    bars: int = 0
    done: int = 0
    clean: int = 0
    missing: int = 0
    older: int = 0
    unreadable: int = 0
    added: int = 0
    raised: int = 0
    skipped: int = 0
    purged: int = 0
    stays: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)

    def left_s(self) -> float | None:
        """Seconds until all keys are done, at the pace so far; None before there is one."""
        spent = time.monotonic() - self.began
        return spent / self.keys * (self.total - self.keys) if self.keys else None

    def note(self, why: str, key: object) -> None:
        """Count a reason and keep a few keys that show it."""
        self.stays[why] += 1
        shown = self.examples.setdefault(why, [])
        if len(shown) < SHOWN:
            shown.append(str(key))

    @property
    def blocking(self) -> int:
        """Keys that keep the migration from being whole."""
        if self.keys and not self.done:  # the symbols were never synced, or Tier 1 never ranked
            return self.keys
        return self.done - self.clean + self.stays[Stays.SYMBOL]


def row(exchange: str) -> LegacyMigration:
    """Where an exchange stands; raises `InvalidInput` for one that the predecessor did not have."""
    found = LegacyMigration.objects.filter(pk=exchange).first()
    if found is None:
        known = " ".join(LegacyMigration.objects.values_list("pk", flat=True))
        raise InvalidInput(f"{exchange!r} has no number in the predecessor's keys; accepted: {known}")
    return found


@unavailable()
def scan(number: int) -> Iterator[LegacyKey]:
    """The predecessor's candle keys of one exchange, each once, from every master of a Cluster."""
    seen: set[LegacyKey] = set()
    for name in state_redis().scan_iter(match=legacy_keys.pattern(number), count=SCANNED):
        key = legacy_keys.parse(name.decode(errors="replace"))
        if key is not None and key.number == number and key not in seen:
            seen.add(key)
            yield key


def numbers_found() -> Counter[int]:
    """How many keys of the predecessor's there are, by exchange number, known or not."""
    found = (
        legacy_keys.parse(n.decode(errors="replace")) for n in state_redis().scan_iter(match=legacy_keys.everywhere())
    )
    return Counter(key.number for key in found if key is not None)


def portions(exchange: str, report: Report, homeless: list[LegacyKey] | None = None) -> Iterator[list[Series]]:
    """The keys that have a place among ours, some at a time.

    The others are noted in `report`, and added to `homeless` before the portion that they were met with.
    """
    number = row(exchange).number
    spelled = names(exchange)
    batch: list[LegacyKey] = []
    for key in chain(scan(number), [None]):
        if key is not None:
            batch.append(key)
        if batch and (key is None or len(batch) == AT_ONCE):
            found = _placed(exchange, batch, spelled, report)
            if homeless is not None:
                homeless += sorted(set(batch) - {series.key for series in found})
            yield found
            batch = []


def paced(steps: Iterator[list[Series]], rate: float) -> Iterator[list[Series]]:
    """The steps, so that never more than so many keys a second are begun."""
    due = time.monotonic()
    for some in steps:
        time.sleep(max(0.0, due - time.monotonic()))
        due = max(due, time.monotonic()) + AT_ONCE / rate
        yield some


def _placed(exchange: str, batch: Sequence[LegacyKey], spelled: Mapping[str, str], report: Report) -> list[Series]:
    existing = set(Exchange.objects.filter(pk=exchange).values_list("timeframes", flat=True)[0])
    users = set(get_user_model().objects.filter(pk__in={k.user for k in batch}).values_list("pk", flat=True))
    places = pool.places((exchange, spelled[k.symbol]) for k in batch if k.symbol in spelled)
    found = []
    for key in batch:
        report.keys += 1
        name = spelled.get(key.symbol)
        if key.timeframe not in existing:
            report.note(Stays.TIMEFRAME, key)
        elif name is None:
            report.note(Stays.SYMBOL, key)
        elif places[exchange, name].is_shared:
            shared = keys.candles(exchange, name, key.timeframe)
            found.append(Series(key, name, Timeframe(key.timeframe), shared))
        elif key.user in users:
            own = keys.user_candles(key.user, exchange, name, key.timeframe)
            may_lapse = key.user not in places[exchange, name].followers
            found.append(Series(key, name, Timeframe(key.timeframe), own, window.OVERFLOW_S, may_lapse))
        else:
            report.note(Stays.USER, key)
    report.done += len(found)
    return found


def begun(exchange: str) -> Report:
    return Report(exchange, total=sum(1 for _ in scan(row(exchange).number)))


def names(exchange: str) -> dict[str, str]:
    """As the predecessor may have spelled it → our canonical name, which wins over a native one that looks alike."""
    rows = ExchangeSymbol.objects.filter(exchange_id=exchange).values_list("native", "name")
    found = list(rows)
    return dict(found) | {name: name for _, name in found}


def members(of: Sequence[object]) -> list[list[tuple[bytes, float]]]:
    """The newest of each key, as many as ours keep, oldest first."""
    pipe = state_redis().pipeline(transaction=False)
    for name in of:
        pipe.zrange(str(name), -window.KEPT, -1, withscores=True)
    return list(pipe.execute())
