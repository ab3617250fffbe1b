"""What a stream says of itself to whoever watches."""

from __future__ import annotations

from dataclasses import dataclass

from exchanges.clock import Estimate
from exchanges.crashes import Crash


@dataclass(frozen=True, slots=True)
class StreamSnapshot:
    """What a stream is doing now; times are ns UTC by our clock.

    `state` is one of connecting, subscribing, streaming, degraded, backing_off, refused, paused, stopped.
    `since_ns` is the moment since which every connection has streamed without interruption. `acked`
    counts the symbols whose connection has every acknowledgement, `receiving` those of them that brought a trade
    within their usual pauses or are proven by REST to have had none. `spooled` batches wait for the broker, in memory
    and on disk; `spooled_from_ns` is when the oldest frame of them was received. `bytes` is what all frames took so
    far, `losses` counts connections that broke or could not be made.
    `clock` is the last estimate of the venue's clock. `crashes` are the newest of its threads.
    """

    state: str
    reason: str = ""
    sockets: int = 0
    wanted: int = 0
    acked: int = 0
    receiving: int = 0
    frames: int = 0
    batches: int = 0
    bytes: int = 0
    losses: int = 0
    since_ns: int | None = None
    last_frame_ns: int = 0
    errors: int = 0
    spooled: int = 0
    spooled_bytes: int = 0
    spooled_from_ns: int | None = None
    clock: Estimate | None = None
    crashes: tuple[Crash, ...] = ()
