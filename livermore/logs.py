"""How a log line looks: time, level, event name, key=value pairs, and what the work in hand is bound to."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

_bound: ContextVar[Mapping[str, str]] = ContextVar("bound", default=MappingProxyType({}))


def event(logger: logging.Logger, name: str, /, level: int = logging.INFO, **fields: Any) -> None:
    """Log the constant event `name` with its fields: `event(log, "candle.closed", symbol=…)`."""
    logger.log(level, name, extra={"fields": fields})


def bind(**fields: str) -> None:
    """From now on every line of this unit of work (a task, a thread) carries these: `bind(batch=…)`."""
    _bound.set({**_bound.get(), **fields})


def bound() -> Mapping[str, str]:
    """What this unit of work is bound to."""
    return _bound.get()


def unbind() -> None:
    """The unit of work is over."""
    _bound.set({})


class LineFormatter(logging.Formatter):
    """`2026-01-01T00:00:00.000Z INFO candle.closed symbol=BTC-USDT trades=12`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line; a traceback follows on its own lines. What an event says itself wins over what is bound."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        parts = [f"{stamp}.{int(record.msecs):03d}Z", record.levelname, record.getMessage()]
        fields = getattr(record, "fields", {})
        parts += [f"{key}={_shown(value)}" for key, value in fields.items()]
        parts += [f"{key}={_shown(value)}" for key, value in bound().items() if key not in fields]
        line = " ".join(parts)
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def _shown(value: Any) -> str:
    text = str(value)
    return json.dumps(text) if " " in text or "=" in text or text == "" else text
