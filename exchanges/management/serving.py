"""Being a stream host in the foreground: signals, and an end in good order."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Collection
from typing import Any

import candles.tasks
from exchanges.host import Host
from exchanges.management.wiring import GapPost, wiring
from exchanges.observed import Change

FLUSH_GAPS_S = 5.0


def serve(
    watch: Callable[[Host, Change], None],
    *,
    name: str = "",
    autostart: Collection[str] = (),
    only: Collection[str] = (),
    begin: Callable[[Host], None] = lambda host: None,
) -> Host:
    """Run a host until SIGTERM, SIGINT or its `stop`; returns when everything is drained.

    `watch` sees every change of state (in the exchange's own thread); `begin` is called before it runs.
    """
    gaps = GapPost(candles.tasks.report_gap)
    host = Host(
        wiring(gaps, lambda change: watch(host, change)),
        name or socket.gethostname(),
        autostart=autostart,
        only=only,
    )

    def stop(*_: Any) -> None:
        host.stop()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        begin(host)
        host.run()
    finally:
        gaps.close(FLUSH_GAPS_S)
        for number, handler in before.items():
            signal.signal(number, handler)
    return host
