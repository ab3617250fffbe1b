"""Faults on demand: what may go wrong at a simulated venue, and how it is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from exchanges.simulation.connection import Connection
from exchanges.simulation.stage import Nonsense, SimulatedVenue, Stage
from livermore.core.errors import InvalidInput

REST_KINDS = ("rest_status", "rest_html", "rest_abort", "handshake")
SOCKET_KINDS = (
    "cut", "abort", "silence", "duplicate", "drop", "late", "reorder", "drift", "lose", "token", "shutdown"
)  # fmt: skip
NUMBERS = {"code", "for_s", "count", "status"}
TEXTS = {"path", "field", "to", "about"}
KINDS = (*SOCKET_KINDS, *(str(k) for k in Nonsense), *REST_KINDS)


def check(kind: object, options: Mapping[str, Any]) -> None:
    """Raises `InvalidInput` unless a fault of this kind exists and takes these options."""
    if kind not in KINDS:
        raise InvalidInput(f"fault {kind!r} does not exist; accepted: {' '.join(KINDS)}")
    if unknown := options.keys() - NUMBERS - TEXTS:
        raise InvalidInput(f"a fault has no {sorted(unknown)}; accepted: {sorted(NUMBERS | TEXTS)}")
    for name, value in options.items():
        if not isinstance(value, str if name in TEXTS else (int, float)):
            raise InvalidInput(f"{name} of a fault must be {'a text' if name in TEXTS else 'a number'}, not {value!r}")
    if kind == "drift" and not {"field", "to"} <= options.keys():
        raise InvalidInput("drift needs field and to: the name of a field, and its new one")


@dataclass(slots=True)
class Trouble:
    """A fault of the HTTP side: for `count` requests or until a moment of the stage's clock, whichever ends first;
    only those with `path` in their path."""

    kind: str
    status: int
    count: int
    until_s: float
    path: str = ""

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

        cut(code=1000) · abort · silence(for_s) · duplicate(count=1) · drop(count=1) · late(count=1, for_s=5) ·
        reorder(count=1) · drift(field, to, about="", for_s=60) · lose(count=1) · token(count=1) · shutdown ·
        malformed · unknown_symbol · huge_number · binary · rest_status(status, count, for_s, path="") ·
        rest_html(…) · rest_abort(…) · handshake(status=451, count, for_s).

        `late` frames come after `for_s` seconds, `reorder` swaps neighbours, `drift` renames a field of the
        JSON frames that contain `about`; `lose` acknowledges the next subscriptions and forgets them; `token`
        admits nobody with the next tokens, where a venue has tokens. A REST fault befalls what has `path` in
        its path.
        """
        check(kind, options)
        if kind in REST_KINDS:
            self._trouble(kind, options)
        elif kind == "shutdown":
            self.venue.announce_end()
        elif kind == "lose":
            self.stage.topics_to_lose += int(options.get("count", 1))
        elif kind == "token":
            self.stage.tokens_to_spoil += int(options.get("count", 1))
        else:
            for connection in list(self.stage.connections):
                self._befall(connection, kind, options)

    def _trouble(self, kind: str, options: dict[str, Any]) -> None:
        usual = 451 if kind == "handshake" else 503
        until_s = self.stage.clock_s() + float(options.get("for_s", 3600.0))
        count = int(options.get("count", 1_000_000 if "for_s" in options else 1))
        trouble = Trouble(kind, int(options.get("status", usual)), count, until_s, str(options.get("path", "")))
        if kind == "handshake":
            self._handshake = trouble
        else:
            self._rest = trouble

    def _befall(self, connection: Connection, kind: str, options: dict[str, Any]) -> None:
        mishaps, count, now_s = connection.mishaps, int(options.get("count", 1)), self.stage.clock_s()
        match kind:
            case "cut":
                connection.close(int(options.get("code", 1000)))
            case "abort":
                connection.abort()
            case "silence":
                mishaps.silent_until_s = now_s + float(options.get("for_s", 60.0))
            case "duplicate" | "drop" | "reorder":
                setattr(mishaps, kind, getattr(mishaps, kind) + count)
            case "late":
                mishaps.late, mishaps.late_s = mishaps.late + count, float(options.get("for_s", 5.0))
            case "drift":
                mishaps.drift = (options["field"], options["to"], options.get("about", ""))
                mishaps.drifts_until_s = now_s + float(options.get("for_s", 60.0))
            case _:
                connection.send(self.venue.nonsense(Nonsense(kind)))

    def refuse_handshake(self) -> web.Response | None:
        """The answer to a socket's handshake that must not succeed."""
        if self._handshake is not None and self._handshake.strikes(self.stage.clock_s()):
            return self.venue.refusal(self._handshake.status)
        return None

    def refuse_rest(self, request: web.Request) -> web.Response | None:
        """The answer to a REST request that must not succeed."""
        trouble = self._rest
        if trouble is None or trouble.path not in request.path or not trouble.strikes(self.stage.clock_s()):
            return None
        if trouble.kind == "rest_html":
            page = "<!DOCTYPE html><html><body><h1>We'll be right back</h1></body></html>"
            return web.Response(text=page, content_type="text/html")
        if trouble.kind == "rest_abort" and request.transport is not None:
            request.transport.abort()
        return self.venue.refusal(trouble.status)
