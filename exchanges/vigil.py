"""Watches over a stream's symbols: listens to its batches, asks the venue's REST, and cures what is stalled."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager

from exchanges.connection import Connection
from exchanges.crashes import Crashes
from exchanges.silence import Remedy, Silence
from exchanges.slot import Slot
from exchanges.venue import Rest, Venue
from livermore.core.errors import LivermoreError
from livermore.core.frame import FrameBatch
from livermore.core.symbol import SymbolBook
from livermore.logs import event

log = logging.getLogger(__name__)

SAMPLE = 24
"""So many frames of a batch are looked at; that is all of them up to some 240 frames a second."""
PROBES = 10
"""So many questions at once, and as many again in four times the patience (a minute)."""
_NAMED = 3


class _AsNamed(dict[str, str]):
    """Every native symbol by its own name: who is wanted may change at any moment."""

    def get(self, native: str, default: object = None) -> str:
        return native


class Vigil:
    """`hear` takes every batch of the stream from its connections; a thread of its own does the rest.

    `slots` are the stream's and change under its `lock`. `missed` is told natives, from when to when (ns) their trades
    are missing, and the connection's id; `wake` has the stream look at its slots. `receiving`, `complaint` (which
    symbols the venue trades and does not send; else empty) and `probes` (how many questions were asked) may be read
    from anywhere.
    """

    def __init__(
        self,
        venue: Venue,
        rest: Rest,
        slots: Sequence[Slot],
        lock: AbstractContextManager[bool],
        missed: Callable[[Iterable[str], int, int, str], None],
        wake: Callable[[], None],
        patience_s: float,
        crashes: Crashes,
    ) -> None:
        self._venue, self._rest, self._slots, self._lock = venue, rest, slots, lock
        self._missed, self._wake, self._patience_s, self._crashes = missed, wake, patience_s, crashes
        self._silence = Silence(patience_s)
        self._guard = threading.Lock()  # of the silence
        self._book = SymbolBook(venue.slug, _AsNamed())
        self._is_attentive, self._blurred_ns = False, 0
        self._tokens, self._refilled_s = float(PROBES), time.monotonic()
        self._absent: dict[Connection, tuple[float, Slot, frozenset[str]]] = {}
        self._replaced_s: dict[Slot, float] = {}
        self._ending = threading.Event()
        self.receiving, self.probes, self.complaint = 0, 0, ""
        self._thread = threading.Thread(target=self._run, name=f"{venue.slug}-vigil", daemon=True)

    def start(self) -> None:
        """Begin to judge."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """End; a question under way is waited for so long."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def hear(self, batch: FrameBatch) -> None:
        """Note which symbols traded; of a large batch a sample says enough, but while somebody is under suspicion."""
        frames = batch.frames
        if len(frames) > SAMPLE and not self._is_attentive:
            stride = -(-len(frames) // SAMPLE)
            frames = frames[batch.number % stride :: stride]
            self._blurred_ns = batch.received_ns
        newest: dict[str, int] = {}
        for trade in self._venue.mapper(frames, self._book).trades:
            if trade.time_ns > newest.get(trade.symbol, 0):
                newest[trade.symbol] = trade.time_ns
        with self._guard:
            for native, traded_ns in newest.items():
                self._silence.heard(native, batch.received_ns, traded_ns)

    # ---- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._ending.wait(self._patience_s / 30):
            try:
                self._step()
            except Exception as error:
                # The top of a loop that must live.
                log.exception("stream.vigil_failed")
                self._crashes.note(error)
                self._ending.wait(self._crashes.rest_s)

    def _step(self) -> None:
        now_ns = time.time_ns()
        with self._lock:
            self._return()
            streaming = {n: s.since_ns for s in self._slots for n in set(s.natives) - s.refused}
        with self._guard:
            self._silence.follow(streaming, now_ns)
            healed = self._silence.healed()
            self.receiving, self.complaint = self._silence.receiving(now_ns), _complaint(self._silence.stalls())
            suspects = self._silence.overdue(now_ns)[: self._allowance()]
        for from_ns in set(healed.values()):
            natives = [native for native, since_ns in healed.items() if since_ns == from_ns]
            self._missed(natives, from_ns, now_ns, "")
            event(log, "subscription.healed", venue=self._venue.slug, symbols=len(natives), first=sorted(natives)[0])
        self._is_attentive = bool(suspects)
        for native in suspects:
            if self._ending.is_set():
                return
            self._judge(native)

    def _allowance(self) -> int:
        now_s = time.monotonic()
        refill = (now_s - self._refilled_s) * PROBES / (4 * self._patience_s)
        self._tokens, self._refilled_s = min(PROBES, self._tokens + refill), now_s
        return int(self._tokens)

    def _judge(self, native: str) -> None:
        """Ask whether the venue traded while nothing came; what comes in the meantime settles it."""
        asked_ns = time.time_ns()
        with self._guard:
            interval = self._silence.question(native, asked_ns, self._blurred_ns)
        if interval is None:
            return
        self._tokens -= 1
        self.probes += 1
        try:
            has_traded = bool(self._rest.trades(native, native, *interval))
        except LivermoreError as error:
            event(log, "subscription.unknown", logging.WARNING, venue=self._venue.slug, symbol=native, error=error)
            with self._guard:
                self._silence.unknown(native, time.time_ns())
            return
        with self._guard:
            if not has_traded:
                self._silence.quiet(native, interval, time.time_ns())
            is_stalled = has_traded and self._silence.is_silent(native, asked_ns)
        if is_stalled:
            with self._lock:
                self._cure(native)

    def _cure(self, native: str) -> None:
        slot = next((s for s in self._slots if native in s.natives and s.since_ns is not None), None)
        if slot is None or slot.current is None:
            return
        now_ns, now_s = time.time_ns(), time.monotonic()
        last_s = self._replaced_s.get(slot)
        is_rested = last_s is None or now_s - last_s > 20 * self._patience_s
        with self._guard:
            stall = self._silence.stalled(native, set(slot.natives) - slot.refused, now_ns, is_rested=is_rested)
        named = ", ".join(sorted(stall.natives)[:_NAMED])
        event(
            log, "subscription.stalled", logging.WARNING, venue=self._venue.slug, connection=slot.current.id,
            symbols=len(stall.natives), first=named, remedy=stall.remedy,
        )  # fmt: skip
        for from_ns in set(stall.natives.values()):
            natives = [n for n, since_ns in stall.natives.items() if since_ns == from_ns]
            self._missed(natives, from_ns, now_ns, slot.current.id)
        if stall.remedy is Remedy.REPLACE:
            self._replaced_s[slot] = now_s
            slot.current.wants_rotation = f"silent while the venue trades: {named}"
            self._wake()
        else:
            self._resubscribe(slot, slot.current, frozenset(stall.natives))

    def _resubscribe(self, slot: Slot, connection: Connection, natives: frozenset[str]) -> None:
        """Without them now, and with them again once the venue can have been told."""
        if connection in self._absent:
            natives |= self._absent[connection][2]
        connection.follow([n for n in slot.natives if n not in natives])
        self._absent[connection] = (time.monotonic() + self._patience_s * 2 / 15, slot, natives)

    def _return(self) -> None:
        for connection, (due_s, slot, _) in list(self._absent.items()):
            if time.monotonic() >= due_s:
                del self._absent[connection]
                connection.follow(slot.natives)


def _complaint(stalls: Sequence[str]) -> str:
    named = ", ".join(stalls[:_NAMED])
    return f"{len(stalls)} symbols silent while the venue trades: {named}" if stalls else ""
