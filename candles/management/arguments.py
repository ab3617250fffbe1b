"""Arguments that commands about candles share: moments and timeframes as people write them."""

from __future__ import annotations

from argparse import ArgumentTypeError
from datetime import UTC, datetime

from livermore.core.candle import Timeframe
from livermore.core.errors import InvalidInput


def moment(text: str) -> int:
    """Epoch ms of `2026-01-31`, `2026-01-31T12:00` (UTC unless it says otherwise) or of epoch ms itself."""
    if text.isdigit() and len(text) == 13:
        return int(text)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        accepted = "2026-01-31 or 2026-01-31T12:00 in UTC, or epoch ms"
        raise ArgumentTypeError(f"{text!r} is no time; accepted: {accepted}") from None
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)


def timeframe(text: str) -> Timeframe:
    """One that exists."""
    try:
        return Timeframe.parse(text)
    except InvalidInput as error:
        raise ArgumentTypeError(str(error)) from None
