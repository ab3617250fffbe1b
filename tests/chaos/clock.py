"""The clock of a deployment under chaos: real, but for what a test lets pass at once for all its processes."""

from __future__ import annotations

import mmap
import os
import shutil
import struct
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

SOURCE = Path(__file__).with_name("clock.c")
SECOND_NS = 1_000_000_000


class Clock:
    """Wall time as the deployment sees it; `environment` makes a process see it. Monotonic clocks stay real."""

    def __init__(self, folder: Path, start_ms: int) -> None:
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            raise SystemExit("make chaos needs a C compiler for the deployment's clock: apt-get install gcc libc6-dev")
        file, library = folder / "clock", folder / "clock.so"
        subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(SOURCE)], check=True)
        file.write_bytes(bytes(8))
        with file.open("r+b") as stored:
            self._ahead = mmap.mmap(stored.fileno(), 8)
        self.environment = {"LD_PRELOAD": str(library), "CHAOS_CLOCK": str(file)}
        self._ahead_ns = 0
        self.shift(start_ms / 1000 - time.time())

    @property
    def now_ns(self) -> int:
        """ns UTC."""
        return time.time_ns() + self._ahead_ns

    @property
    def now_ms(self) -> int:
        """ms UTC."""
        return self.now_ns // 1_000_000

    def shift(self, seconds: float) -> None:
        """So much passes at once; it must be ahead of the machine's clock, by which Redis lets keys expire."""
        self._ahead_ns += int(seconds * SECOND_NS)
        assert self._ahead_ns >= 0, "behind the machine's clock"
        self._ahead[:] = struct.pack("q", self._ahead_ns)

    def stamp(self, files: Iterable[Path]) -> None:
        """Files bear the machine's time; let these bear this one."""
        for file in files:
            os.utime(file, ns=(self.now_ns, self.now_ns))
