"""How far the markets of an asset usually are apart, from their closed 5m candles; kept in Redis."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from itertools import combinations

from candles.signals.standing import QUANTILE_SAMPLES, SAMPLES, Standing, gaps, standing, with_quantile
from exchanges.state import state_redis
from livermore.core import signal_keys

LIFE_S = 2 * 86_400
LEAST_QUANTILE_SAMPLES = QUANTILE_SAMPLES
NEWEST_SAMPLES = SAMPLES

Closes = Mapping[int, float]
"""Closes in dollars by their candle's open (ms)."""


def known(base: str) -> dict[tuple[str, str], Standing]:
    """By (market, market), both ways round."""
    found: dict[tuple[str, str], Standing] = {}
    for name, text in state_redis().hgetall(signal_keys.standing(base)).items():
        one, other = name.decode().split("|")
        found[one, other] = Standing(**json.loads(text))
        found[other, one] = found[one, other].turned
    return found


def learn(base: str, day: Mapping[str, Closes], week: Mapping[str, Closes] | None = None) -> int:
    """Keep what the closes of a day say of each pair of markets; a week's give the pair's own quantile.

    Without a week the quantile that is known stays. How many pairs have a standing.
    """
    before, fields = known(base), {}
    for one, other in combinations(sorted(day), 2):
        usual = standing(gaps(day[one], day[other]))
        if usual is None:
            continue
        if week is not None:
            usual = with_quantile(usual, gaps(week.get(one, {}), week.get(other, {})))
        elif (old := before.get((one, other))) is not None:
            usual = Standing(usual.median_bps, usual.mad_bps, usual.samples, old.p99_bps, old.p99_samples)
        fields[f"{one}|{other}"] = json.dumps(asdict(usual))
    if fields:
        state_redis().hset(signal_keys.standing(base), mapping=fields)
        state_redis().expire(signal_keys.standing(base), LIFE_S)
    return len(fields)
