"""THE OBLIGATION of an indicator: what a module must put into its `INDICATORS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from candles.indicators.bars import Bars
from livermore.core.errors import InvalidInput

LOAD_BARS = 300
"""Bars loaded per timeframe: at 300 a windowed MACD-V is within 0.005 points of a fully warmed one."""

CONVERGED_BARS = 250
"""Observed bars from which a recursive value no longer depends on where its window began."""

Row = tuple[int | float | None, ...]
Value = int | float | str


class Latest(Protocol):
    """The value at the newest bar."""

    def payload(self) -> dict[str, Any]:
        """JSON with at least `candle_open_time` (ms), `candle_version`, `ready` and `converged`."""
        ...


@dataclass(frozen=True, slots=True)
class Number:
    """A parameter that is a number from `least` to `most`; whole where its default is."""

    default: int | float
    least: int | float
    most: int | float

    def parse(self, text: str) -> int | float:
        """Raises `InvalidInput` that says what is accepted."""
        is_whole = isinstance(self.default, int)
        try:
            value = int(text) if is_whole else float(text)
        except ValueError:
            value = None
        if value is None or not self.least <= value <= self.most:
            kind = "a whole number" if is_whole else "a number"
            raise InvalidInput(f"must be {kind} from {self.least} to {self.most}; it is {text!r}")
        return value


@dataclass(frozen=True, slots=True)
class Choice:
    """A parameter that is one of some words, the first by default."""

    accepted: tuple[str, ...]

    @property
    def default(self) -> str:
        """What applies when nobody says anything."""
        return self.accepted[0]

    def parse(self, text: str) -> str:
        """Raises `InvalidInput` that says what is accepted."""
        if text not in self.accepted:
            raise InvalidInput(f"must be one of {' '.join(self.accepted)}; it is {text!r}")
        return text


@dataclass(frozen=True, slots=True)
class Indicator:
    """A named pure function of bars.

    `columns` names the fields of a chart row after its open time. `warm_up_bars` is the number of observed
    bars at which every value exists; `load_bars` what a caller should load. `parameters` may be changed by
    `with_parameters`, which `remake` serves.
    `latest` raises `InvalidInput` when there are no bars.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    warm_up_bars: int
    latest: Callable[[Bars], Latest]
    series: Callable[[Bars], list[Row]]
    load_bars: int = LOAD_BARS
    parameters: Mapping[str, Number | Choice] = field(default_factory=dict)
    remake: Callable[[Mapping[str, Value]], Indicator] | None = None

    @property
    def defaults(self) -> dict[str, Value]:
        """The parameters that apply when nobody says anything."""
        return {name: parameter.default for name, parameter in self.parameters.items()}

    def chosen(self, said: Mapping[str, str]) -> dict[str, Value]:
        """Every parameter's value where some are given as text; raises `InvalidInput` that says what is accepted."""
        given = self.defaults
        for name, text in said.items():
            if name not in self.parameters:
                accepted = " ".join(self.parameters) or "none"
                raise InvalidInput(f"{self.name} has no parameter {name!r}; accepted: {accepted}")
            try:
                given[name] = self.parameters[name].parse(text)
            except InvalidInput as error:
                raise InvalidInput(f"{name} of {self.name} {error}") from None
        return given

    def with_parameters(self, said: Mapping[str, str]) -> Indicator:
        """The same with other parameters; raises what `chosen` raises."""
        given = self.chosen(said)
        return self if self.remake is None or given == self.defaults else self.remake(given)
