"""Which alerts a deployment wants: ALERT_RULES, checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.conf import settings

from candles.indicators.alerts import Rules
from livermore.core.candle import Timeframe
from livermore.core.errors import InvalidInput

_NAMES = ("levels", "rearm_band", "timeframes", "needs_converged", "intrabar")


@dataclass(frozen=True, slots=True)
class Chosen:
    """The rules, the timeframes they are applied to, and whether bars that still form are judged, too."""

    rules: Rules
    timeframes: frozenset[str]
    is_intrabar: bool = False


def current() -> Chosen:
    """What ALERT_RULES says; what it leaves out is as in indicators.md §3.5. Raises `InvalidInput`."""
    said = settings.ALERT_RULES
    if not isinstance(said, dict) or set(said) - set(_NAMES):
        raise InvalidInput(f"ALERT_RULES must be a JSON object with any of {' '.join(_NAMES)}; it is {said!r}")
    try:
        timeframes = frozenset(str(Timeframe.parse(name)) for name in said.get("timeframes", Timeframe))
    except (InvalidInput, TypeError) as error:
        raise InvalidInput(f"ALERT_RULES: timeframes: {error}") from None
    given = {name: value for name, value in said.items() if name not in ("timeframes", "intrabar")}
    if "levels" in given:
        given["levels"] = _levels(given["levels"])
    band = given.get("rearm_band", 0)
    if not _is_number(band) or band < 0:
        raise InvalidInput(f"ALERT_RULES: rearm_band must be a number from 0 on; it is {band!r}")
    for name in ("needs_converged", "intrabar"):
        if type(said.get(name, True)) is not bool:
            raise InvalidInput(f"ALERT_RULES: {name} must be true or false; it is {said[name]!r}")
    return Chosen(Rules(**given), timeframes, said.get("intrabar", False))


def _levels(said: Any) -> tuple[float, ...]:
    if not isinstance(said, list) or not said or any(not _is_number(level) or level <= 0 for level in said):
        raise InvalidInput(f"ALERT_RULES: levels must be a list of numbers above 0, such as [150, 200]; it is {said!r}")
    return tuple(sorted({float(level) for level in said}))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
