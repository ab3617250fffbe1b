"""Faults on demand: what may go wrong at a simulated venue, and how it is done."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from exchanges.simulation.stage import Nonsense, SimulatedVenue, Stage
from livermore.core.errors import InvalidInput

REST_KINDS = ("rest_status", "rest_html", "rest_abort", "handshake")
SOCKET_KINDS = ("cut", "abort", "silence", "duplicate", "drop", "lose", "shutdown")
KINDS = (*SOCKET_KINDS, *(str(k) for k in Nonsense), *REST_KINDS)


@dataclass(slots=True)
class Trouble:
    """A fault of the HTTP side: for `count` requests or until a moment of the stage's clock, whichever ends first."""

    kind: str
    status: int
    count: int
    until_s: float

    def strikes(self, now_s: float) -> bool:
        """Whether it hits this request; counts it."""
        if self.count <= 0 or now_s > self.until_s:
            return False
        self.count -= 1
        return True


@dataclass(slots=True)
class Faults:
    """The faults of one venue."""

    stage: Stage
    venue: SimulatedVenue
    _rest: Trouble | None = field(default=None)
    _handshake: Trouble | None = field(default=None)

    def strike(self, kind: str, **options: Any) -> None:
        """Let one fault happen now; raises `InvalidInput` for an unknown kind or option.

        cut(code=1000) · abort · silence(for_s) · duplicate(count=1) · drop(count=1) · lose(count=1) · shutdown ·
        malformed · unknown_symbol · huge_number · binary · rest_status(status, count, for_s) · rest_html ·
        rest_abort · handshake(status=451, count, for_s). `lose` acknowledges the next subscriptions and
        forgets them, at the venues whose simulators ask the stage for it.
        """
        if kind not in KINDS:
            raise InvalidInput(f"fault {kind!r} does not exist; accepted: {' '.join(KINDS)}")
        accepted = {"code", "for_s", "count", "status"}
        if set(options) - accepted:
            raise InvalidInput(f"a fault has no {sorted(set(options) - accepted)}; accepted: {sorted(accepted)}")
        if kind in REST_KINDS:
            self._trouble(kind, options)
        elif kind == "shutdown":
            self.venue.announce_end()
        elif kind == "lose":
            self.stage.topics_to_lose += int(options.get("count", 1))
        else:
            self._befall(kind, options)

    def _trouble(self, kind: str, options: dict[str, Any]) -> None:
        usual = 451 if kind == "handshake" else 503
        until_s = self.stage.clock_s() + float(options.get("for_s", 3600.0))
        count = int(options.get("count", 1_000_000 if "for_s" in options else 1))
        trouble = Trouble(kind, int(options.get("status", usual)), count, until_s)
        if kind == "handshake":
            self._handshake = trouble
        else:
            self._rest = trouble

    def _befall(self, kind: str, options: dict[str, Any]) -> None:
        for connection in list(self.stage.connections):
            mishaps = connection.mishaps
            if kind == "cut":
                connection.close(int(options.get("code", 1000)))
            elif kind == "abort":
                connection.abort()
            elif kind == "silence":
                mishaps.silent_until_s = self.stage.clock_s() + float(options.get("for_s", 60.0))
            elif kind == "duplicate":
                mishaps.duplicate += int(options.get("count", 1))
            elif kind == "drop":
                mishaps.drop += int(options.get("count", 1))
            else:
                connection.send(self.venue.nonsense(Nonsense(kind)))

    def refuse_handshake(self) -> web.Response | None:
        """The answer to a socket's handshake that must not succeed."""
        if self._handshake is not None and self._handshake.strikes(self.stage.clock_s()):
            return self.venue.refusal(self._handshake.status)
        return None

    def refuse_rest(self, request: web.Request) -> web.Response | None:
        """The answer to a REST request that must not succeed."""
        trouble = self._rest
        if trouble is None or not trouble.strikes(self.stage.clock_s()):
            return None
        if trouble.kind == "rest_html":
            page = "<!DOCTYPE html><html><body><h1>We'll be right back</h1></body></html>"
            return web.Response(text=page, content_type="text/html")
        if trouble.kind == "rest_abort" and request.transport is not None:
            request.transport.abort()
        return self.venue.refusal(trouble.status)
