"""A market put aside and taken up again, so that a restarted simulation goes on where it stood."""

from __future__ import annotations

import pickle
from pathlib import Path

from exchanges.simulation.market import Market

FORMAT = 3
LONGEST_ABSENCE_MS = 2 * 3_600_000
KEPT_US = 900 * 1_000_000


def save(market: Market, file: Path) -> None:
    """Write the market with its last quarter of an hour of trades, so that stopping stays quick.

    The older trades are forgotten. Whoever reads the file sees all of it or none.
    """
    market.forget(market.now_us - KEPT_US)
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(file.name + ".part")
    fresh.write_bytes(pickle.dumps((FORMAT, market)))
    fresh.replace(file)


def restore(file: Path, like: Market, now_ms: int) -> Market | None:
    """The market of a file, traded on until now as a venue does while nobody listens.

    None when there is none, when it was another market than `like` (seed, listings or pace), when it
    stood for more than two hours, or when the file cannot be read. The file must be our own: a pickle
    can run code.
    """
    try:
        form, market = pickle.loads(file.read_bytes())  # noqa: S301 - written by `save`, in our own folder
    except (OSError, ValueError, EOFError, AttributeError, ImportError, IndexError, pickle.UnpicklingError):
        return None
    if form != FORMAT or not isinstance(market, Market) or market.identity != like.identity:
        return None
    absence_ms = now_ms - market.now_us // 1000
    if not 0 <= absence_ms <= LONGEST_ABSENCE_MS:
        return None
    market.resume(now_ms * 1000)
    return market
