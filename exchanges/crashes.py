"""Crashes of one exchange's code: when they came, whether they come in a loop, how long to rest, what the last was.

A crash is an error that nobody foresaw, or a process that was killed. Five within a minute are a loop: from then on
each crash doubles the rest before the next try, until none came for the length of a rest and a minute more.
"""

from __future__ import annotations

import re
import threading
import time
import traceback
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

LOOP_OF, LOOP_WITHIN_MS = 5, 60_000
FIRST_REST_MS, LONGEST_REST_MS = 10_000, 300_000
CALM_AFTER_MS = 60_000
KEPT = 20
LONGEST_TEXT = 4_000

_SECRETS = (
    (re.compile(r"-----BEGIN[\s\S]*?(-----END[^-\n]*-----|\Z)"), "***"),
    (re.compile(r"(://)[^/\s@]*@"), r"\1***@"),
    (re.compile(r"(?i)\b(bearer|basic)\s+\S+"), r"\1 ***"),
    (
        re.compile(
            r"(?i)([\w-]*(?:token|secret|passw(?:or)?d|passphrase|signature|api_?key|private_?key|jwt|authorization)"
            r"[\w-]*[\"']?\s*[=:]\s*)(\"[^\"]*\"|'[^']*'|[^\s\"'&,;)}\]]+)"
        ),
        r"\1***",
    ),
    (re.compile(r"\b[\w+=-]{40,}"), "***"),
)


@dataclass(frozen=True, slots=True)
class Crash:
    """When (ms UTC), and its traceback without secrets."""

    at_ms: int
    text: str


class Crashes:
    """The newest crashes; any thread may note one or ask."""

    def __init__(self) -> None:
        self._newest: deque[Crash] = deque(maxlen=KEPT)
        self._level = 0
        self._lock = threading.Lock()

    def note(self, what: BaseException | str) -> None:
        """An error, or a sentence where there is no traceback; it came now."""
        self.take([Crash(_now_ms(), redacted(what if isinstance(what, str) else _formatted(what)))])

    def take(self, crashes: Iterable[Crash]) -> None:
        """Take over what another has noted; what is known is known."""
        with self._lock:
            for crash in crashes:
                if crash not in self._newest:
                    self._add(crash)

    def load(self, told: Mapping[str, str]) -> None:
        """Go on from what a former process told in `fields`."""
        times = [int(ms) for ms in told.get("crash_times", "").split()]
        self.take(Crash(ms, told.get("traceback", "") if ms == times[-1] else "") for ms in times)

    def newest(self) -> tuple[Crash, ...]:
        """Oldest first."""
        with self._lock:
            return tuple(self._newest)

    @property
    def is_looping(self) -> bool:
        """Do they come again and again?"""
        with self._lock:
            return self._is_looping(_now_ms())

    @property
    def rest_s(self) -> float:
        """How long from now nothing should be tried; 0 outside a loop."""
        with self._lock:
            if not self._is_looping(now_ms := _now_ms()):
                return 0.0
            return max(0.0, (self._newest[-1].at_ms + self._rest_ms() - now_ms) / 1000)

    @property
    def complaint(self) -> str:
        """One sentence about the loop; empty without one."""
        if not self.is_looping:
            return ""
        newest = self.newest()
        last = (newest[-1].text.strip() or "?").splitlines()[-1]
        return f"crashed {len(newest)} times, and rests longer after each; the last: {last[:300]}"

    def fields(self) -> dict[str, Any]:
        """For `stream:{exchange}`; `crash_times` are for the process that comes after this one."""
        newest = self.newest()
        return {
            "crashes": len(newest),
            "crash_looping": int(self.is_looping),
            "crashed_ms": newest[-1].at_ms if newest else None,
            "crash_times": " ".join(str(crash.at_ms) for crash in newest),
            "traceback": newest[-1].text if newest else "",
        }

    def _add(self, crash: Crash) -> None:
        was_looping = self._is_looping(crash.at_ms)
        self._newest.append(crash)
        if was_looping:
            self._level += 1
        else:
            recent = sum(crash.at_ms - known.at_ms <= LOOP_WITHIN_MS for known in self._newest)
            self._level = int(recent >= LOOP_OF)

    def _rest_ms(self) -> int:
        return min(LONGEST_REST_MS, FIRST_REST_MS << min(self._level - 1, 10))

    def _is_looping(self, now_ms: int) -> bool:
        return self._level > 0 and now_ms - self._newest[-1].at_ms <= self._rest_ms() + CALM_AFTER_MS


def redacted(text: str) -> str:
    """Without whatever looks like a key, a token or a password; the end of it, where it is long."""
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text[-LONGEST_TEXT:]


def _formatted(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
