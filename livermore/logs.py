"""How a log line looks: time, level, event name, then key=value pairs."""

from __future__ import annotations

import json
import logging
import time
from typing import Any


def event(logger: logging.Logger, name: str, /, level: int = logging.INFO, **fields: Any) -> None:
    """Log the constant event `name` with its fields: `event(log, "candle.closed", symbol=…)`."""
    logger.log(level, name, extra={"fields": fields})


class LineFormatter(logging.Formatter):
    """`2026-01-01T00:00:00.000Z INFO candle.closed symbol=BTC-USDT trades=12`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line; a traceback follows on its own lines."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        parts = [f"{stamp}.{int(record.msecs):03d}Z", record.levelname, record.getMessage()]
        parts += [f"{key}={_shown(value)}" for key, value in getattr(record, "fields", {}).items()]
        line = " ".join(parts)
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def _shown(value: Any) -> str:
    text = str(value)
    return json.dumps(text) if " " in text or "=" in text or text == "" else text
