"""Scripts of what happens when: moves of prices, silent markets and faults, read from a JSON file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exchanges.simulation import faults
from exchanges.simulation.account import opened
from livermore.core.errors import InvalidInput

FOLDER = Path(__file__).resolve().parent.parent / "scenarios"
SUBJECTS = {
    "account": {"api_key", "api_secret", "passphrase", "rights", "balances"},
    "move": {"base", "bps", "at_us", "over_s", "lags_s"},
    "silence": {"base", "for_s"},
    "halt": {"base", "is_halted"},
    "delist": {"base", "is_delisted"},
    "skew": {"by_s"},
    "rename": {"base", "to"},
    "restrict": {"weight"},
}
"""What an action that takes an object may be told."""
ACTIONS = ("account", "fault", "move", "silence", "halt", "delist", "skew", "rename", "restrict", "episodes")
TEXTS = {"rename": ("base", "to"), "account": ("api_key", "api_secret")}
"""What an action must be told, as text."""


@dataclass(frozen=True, slots=True)
class Step:
    """One entry: `action` is one of `ACTIONS`; `options` what goes with it."""

    at_s: float
    action: str
    venue: str | None
    subject: Any
    options: Mapping[str, Any]


def read(source: str | Path | Sequence[Mapping[str, Any]]) -> list[Step]:
    """The steps in the order of time, from a file, a shipped scenario's name or a parsed list.

    Raises `InvalidInput` with what is wrong and what is accepted.
    """
    if isinstance(source, (str, Path)):
        source = _load(source)
    if not isinstance(source, list):
        raise InvalidInput("a scenario is a JSON list of steps, each with at_s and one of " + ", ".join(ACTIONS))
    return sorted((_step(entry) for entry in source), key=lambda step: step.at_s)


def _load(source: str | Path) -> Any:
    file = Path(source)
    if not file.exists() and (FOLDER / f"{source}.json").exists():
        file = FOLDER / f"{source}.json"
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        shipped = " ".join(sorted(f.stem for f in FOLDER.glob("*.json")))
        raise InvalidInput(f"scenario {str(source)!r} not found; give a file or one of: {shipped}") from None
    except ValueError as error:
        raise InvalidInput(f"scenario {file} is not JSON: {error}") from None


def _step(entry: Mapping[str, Any]) -> Step:
    named = [a for a in ACTIONS if a in entry] if isinstance(entry, dict) else []
    if len(named) != 1 or not isinstance(entry.get("at_s"), (int, float)):
        raise InvalidInput(f"scenario step {entry!r}: give at_s and exactly one of {', '.join(ACTIONS)}")
    action = named[0]
    accepted = SUBJECTS.get(action)
    if accepted is not None and not (isinstance(entry[action], dict) and entry[action].keys() <= accepted):
        raise InvalidInput(f"scenario step {entry!r}: {action} takes an object of {', '.join(sorted(accepted))}")
    needed = TEXTS.get(action, ())
    if not all(isinstance(entry[action].get(name), str) for name in needed):
        raise InvalidInput(f"scenario step {entry!r}: {action} takes texts for {' and '.join(needed)}")
    if action == "account":
        opened(entry[action])
    options = {k: v for k, v in entry.items() if k not in ("at_s", "venue", "note", action)}
    if action == "fault":
        faults.check(entry[action], options)
    return Step(float(entry["at_s"]), action, entry.get("venue"), entry[action], options)
