"""What the stream hosts say of their exchanges once a second."""

from __future__ import annotations

import time
from collections.abc import Sequence

from prometheus_client.metrics_core import Metric

from exchanges import observed
from exchanges.lifecycle import State
from livermore.web.metrics.family import Gathered, Gauge, Total

_OF = ("exchange",)
STATE = Gauge("stream_state", "1 for the state in which an exchange's stream is.", ("exchange", "state"))
SYMBOLS = Gauge("stream_symbols", "Symbols that are wanted, acknowledged, receiving.", ("exchange", "stage"))
HOSTS = Gauge("hosts", "Stream hosts whose heart beats.")
SPOOL_AGE = Gauge("spool_age_seconds", "Since the oldest frame was received that the broker has not got.", _OF)
LAST_FRAME = Gauge("stream_last_frame_timestamp_seconds", "When anything last came from the venue.", _OF)

_TOTALS = {
    "frames": Total("stream_frames", "Market data frames received since the stream's start.", _OF),
    "bytes": Total("stream_bytes", "Bytes of the frames that were batched since the stream's start.", _OF),
    "batches": Total("stream_batches", "Batches that the broker took since the stream's start.", _OF),
    "losses": Total("stream_disconnects", "Connections that broke or could not be made.", _OF),
}
_GAUGES = {
    "sockets": (Gauge("stream_sockets", "Open connections.", _OF), 1.0),
    "epoch": (Gauge("lease_epoch", "Epoch of the lease; rises with every new holder.", _OF), 1.0),
    "crashes": (Gauge("stream_crashes", "Crashes that count towards a loop.", _OF), 1.0),
    "spooled": (Gauge("spool_batches", "Batches that wait for the broker, in memory and on disk.", _OF), 1.0),
    "spooled_bytes": (Gauge("spool_bytes", "What those batches take.", _OF), 1.0),
    "lag_ms": (Gauge("stream_lag_seconds", "Median time from trade to arrival, clocks put right.", _OF), 1e-3),
    "clock_offset_ms": (Gauge("clock_offset_seconds", "How far the venue's clock is ahead of the host's.", _OF), 1e-3),
    "clock_uncertainty_ms": (Gauge("clock_uncertainty_seconds", "How far that may be wrong.", _OF), 1e-3),
}
_STAGES = {"wanted": "wanted", "acked": "acknowledged", "receiving": "receiving"}

KINDS: tuple[Gauge | Total, ...] = (
    *(STATE, SYMBOLS, HOSTS, SPOOL_AGE, LAST_FRAME),
    *_TOTALS.values(),
    *(kind for kind, _ in _GAUGES.values()),
)


def gathered(slugs: Sequence[str]) -> list[Metric]:
    """Of these exchanges. Raises `StoreUnavailable`."""
    found = Gathered()
    found.put(HOSTS, value=len(observed.live_hosts()))
    for slug in slugs:
        _put(found, slug, observed.stream_state(slug))
    return found.families(KINDS)


def _put(found: Gathered, slug: str, told: dict[str, str]) -> None:
    now = told.get("state", str(State.IDLE))
    for state in State:
        found.put(STATE, slug, str(state), value=float(str(state) == now))
    for name, total in _TOTALS.items():
        found.put(total, slug, value=_number(told, name))
    for name, (gauge, unit) in _GAUGES.items():
        value = _number(told, name)
        found.put(gauge, slug, value=None if value is None else value * unit)
    for name, stage in _STAGES.items():
        found.put(SYMBOLS, slug, stage, value=_number(told, name))
    if (frame_ms := _number(told, "last_frame_ms")) is not None:
        found.put(LAST_FRAME, slug, value=frame_ms / 1000)
    from_ms = _number(told, "spooled_from_ms")
    if told:
        found.put(SPOOL_AGE, slug, value=0.0 if from_ms is None else max(0.0, time.time() - from_ms / 1000))


def _number(told: dict[str, str], name: str) -> float | None:
    return float(told[name]) if told.get(name) else None
