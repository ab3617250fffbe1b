"""`record NAME --out FILE`: the raw frames of an exchange to disk, beside whatever runs."""

from __future__ import annotations

import logging
import platform
import signal
import sys
import threading
import time
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.core.management.base import CommandError

import exchanges.services
import proto
from exchanges import registry
from exchanges.management.ordering import GEO, TIMEOUT, one_line_errors, seconds
from exchanges.management.progress import Progress
from exchanges.models import Exchange
from exchanges.recording import FORMAT, Header, Listed, Writer
from exchanges.stream import Stream
from livermore.command_line import USAGE, OneLineCommand
from livermore.core.errors import GeoBlocked, InvalidInput
from livermore.core.frame import FrameBatch
from livermore.core.gap import Gap
from livermore.version import version
from symbols.models import ExchangeSymbol

_STREAMS_WITHIN_S = 60.0
_END_WITHIN_S = 10.0
_LOOK_EVERY_S = 0.2


class Command(OneLineCommand):
    """Opens sockets of its own: no lease, no queue, nothing that a running stream would notice."""

    help = "Write the market data frames of an exchange to rotating zstd files, until Ctrl-C."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The arguments of contract §2, and an end."""
        parser.add_argument("name", metavar="NAME", help="exchange")
        parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="where to; must not exist")
        parser.add_argument("--seconds", type=seconds, default=None, metavar="N", help="end after N s of streaming")

    def handle(self, **options: Any) -> None:
        """Record until a signal, or for the time given; exit 0."""
        slug = options["name"]
        with one_line_errors():
            row = exchanges.services.usable(slug)
            try:
                rest = exchanges.services.rest(slug, share=1)
            except GeoBlocked as error:
                raise CommandError(str(error), returncode=GEO) from None
        listed = _listed(slug)
        if not listed:
            raise CommandError(
                f"no symbols of {slug} are followed yet; run sync_symbols {slug}, then refresh_tier1 {slug}",
                returncode=USAGE,
            )
        try:
            sink = _Sink(Writer(options["out"], _header(row, listed)))
        except InvalidInput as error:
            raise CommandError(f"--out: {error}", returncode=USAGE) from None
        except OSError as error:
            raise CommandError(f"--out: cannot write {options['out']}: {error.strerror}", returncode=USAGE) from None
        names = {symbol.native: symbol.symbol for symbol in listed}
        stream = Stream(
            registry.venue(slug), rest, row.limits(), list(names), names=names,
            connects=exchanges.services.connects(slug), epoch=0, publish=sink.take, report=sink.note,
        )  # fmt: skip
        self._run(slug, stream, sink, options)

    def _run(self, slug: str, stream: Stream, sink: _Sink, options: dict[str, Any]) -> None:
        stop = threading.Event()
        before = {
            number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)
        }
        if sys.stderr.isatty():
            logging.getLogger("exchanges").setLevel(logging.ERROR)  # the line of progress says what happens
        stream.start()
        try:
            trouble = self._watch(slug, stream, sink, options["seconds"], stop)
        finally:
            stream.stop(_END_WITHIN_S)
            sink.close()
            for number, handler in before.items():
                signal.signal(number, handler)
        if sink.failure:
            raise CommandError(f"cannot write {options['out']}: {sink.failure}", returncode=1)
        if trouble is not None:
            raise trouble
        self.stdout.write(f"{slug}: {_written(sink.writer)}: {options['out']}")

    def _watch(
        self, slug: str, stream: Stream, sink: _Sink, length_s: float | None, stop: threading.Event
    ) -> CommandError | None:
        """Until the end is due; what went wrong, if something did."""
        progress = Progress(sys.stderr)
        began = streaming = None
        started = time.monotonic()
        try:
            while not stop.wait(_LOOK_EVERY_S) and not sink.failure:
                now, seen = time.monotonic(), stream.snapshot()
                if seen.state == "refused":
                    return CommandError(f"{slug} refuses this host: {seen.reason}", returncode=GEO)
                if streaming is None and seen.state in ("streaming", "degraded"):
                    streaming = now
                if streaming is None and now - started > _STREAMS_WITHIN_S:
                    why = seen.reason or f"still {seen.state}"
                    return CommandError(f"{slug} does not stream: {why}; nothing was recorded", returncode=TIMEOUT)
                began = started if streaming is None else streaming
                if length_s is not None and streaming is not None and now - streaming >= length_s:
                    break
                progress(f"{slug}: {seen.state}, {now - began:.0f} s, {_written(sink.writer)}; Ctrl-C ends it")
        finally:
            progress.end()
        return None


class _Sink:
    """Where the stream publishes to; remembers that the disk failed, after which nothing is taken."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.failure = ""

    def take(self, batch: FrameBatch) -> None:
        """A batch of the stream."""
        self._try(lambda: self.writer.write(batch))

    def note(self, gap: Gap) -> None:
        """A gap of the stream."""
        self._try(lambda: self.writer.note(gap))

    def close(self) -> None:
        """The end; a disk that failed before fails here once more, which is no news."""
        try:
            self.writer.close()
        except OSError as error:
            self.failure = self.failure or str(error.strerror)

    def _try(self, write: Callable[[], None]) -> None:
        if self.failure:
            return
        try:
            write()
        except OSError as error:
            self.failure = str(error.strerror)


def _header(row: Exchange, listed: tuple[Listed, ...]) -> Header:
    now_ns = time.time_ns()
    return Header(
        livermore_recording=FORMAT,
        recording=f"{row.slug}-{now_ns}",
        part=0,
        exchange=row.slug,
        venue_host=urlsplit(row.endpoint().rest).hostname or "",
        started_ns=now_ns,
        versions={
            "livermore": version(), "python": platform.python_version(), "schema": proto.revised_on().isoformat()
        },
        symbols=listed,
    )  # fmt: skip


def _listed(slug: str) -> tuple[Listed, ...]:
    rows = ExchangeSymbol.objects.filter(exchange_id=slug).streamed().order_by("native")
    return tuple(Listed(row.native, row.name, row.quote_precision) for row in rows)


def _written(writer: Writer) -> str:
    counted = f"{writer.frames:,} frames, gaps noted: {writer.gaps}, files: {writer.parts}"
    return f"{counted}, {writer.written_bytes / 1e6:.1f} MB"
