"""Makes a worker that imports this die of a batch whose frames say so, as a fault in a C extension would."""

from __future__ import annotations

import os
import signal
from typing import Any

from candles.services import ingest
from exchanges import wire

PILL = b"poison pill"

_ingest = ingest.ingest


def _swallow(body: dict[str, Any]) -> ingest.Ingested:
    if PILL in wire.unpack(body).frames:
        os.kill(os.getpid(), signal.SIGKILL)
    return _ingest(body)


ingest.ingest = _swallow
