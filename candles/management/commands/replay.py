"""`replay FILE`: recorded frames once more through the whole pipeline, at any speed."""

from __future__ import annotations

import json
import sys
import time
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from django.core.management.base import CommandError

import candles.tasks
import exchanges.services
from candles.services.replay import Follower, Outcome, list_symbols
from exchanges import observed
from exchanges.lifecycle import IS_LIVE
from exchanges.management.ordering import HELD, TIMEOUT, one_line_errors
from exchanges.management.progress import Progress
from exchanges.recorded import Recording
from exchanges.recording import Listed
from livermore.command_line import USAGE, OneLineCommand
from livermore.core.errors import InvalidInput, StoreUnavailable
from symbols import services as symbols

MAX_WAITING = 500
"""So many batches may lie in the broker; a recording is larger than its memory."""
STALLED_AFTER_S = 60.0
MAX_PASSES = 10
_LOOK_EVERY_S = 0.1
_PROGRESS_AFTER_S = 2.0


class Command(OneLineCommand):
    """The same frames in the same batches under the same names: what comes of them is the same every time."""

    help = "Send a recording through the pipeline and print what came of it, with a hash to compare."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The arguments of contract §2, and what a bare file of frames does not tell."""
        parser.add_argument("file", metavar="FILE", type=Path, help="what `record` wrote, or a .jsonl.gz of frames")
        parser.add_argument("--speed", type=_speed, default=1.0, metavar="X", help="times as recorded (1); 0: no wait")
        parser.add_argument("--symbols", type=Path, metavar="FILE", help="add its symbols: a recording, or JSON")
        parser.add_argument("--exchange", default="", metavar="NAME", help="of a recording that does not say it")
        parser.add_argument("--json", action="store_true", help="one JSON line on standard output, at the end")

    def handle(self, **options: Any) -> None:
        """Publish, wait until all of it is stored and closed, print; exit 0."""
        try:
            recording = Recording(options["file"], options["exchange"])
            slug = recording.header.exchange
            with one_line_errors():
                exchanges.services.usable(slug)
            _refuse_while_live(slug)
            _know_symbols(recording, options["symbols"])
            progress = Progress(sys.stderr, after_s=_PROGRESS_AFTER_S)
            follower = Follower(slug)
            try:
                _publish(recording, follower, options["speed"], progress)
                if not options["json"] and (until_ms := follower.open_until_ms()) > time.time() * 1000:
                    self.stdout.write(f"{slug}: all sent; the last bucket closes at {_clock(until_ms)}")
                    self.stdout.flush()
                outcome = _settled(follower, progress)
            finally:
                progress.end()
        except InvalidInput as error:
            raise CommandError(str(error), returncode=USAGE) from None
        except StoreUnavailable as error:
            raise CommandError(f"{error}; is Livermore running?", returncode=TIMEOUT) from None
        except KeyboardInterrupt:
            raise CommandError("interrupted; what was sent is processed all the same", returncode=130) from None
        self._print(recording, follower, outcome, is_json=options["json"])

    def _print(self, recording: Recording, follower: Follower, outcome: Outcome, *, is_json: bool) -> None:
        told = follower.told
        answer = {
            "exchange": told.exchange,
            "frames": told.frames,
            "batches": told.batches,
            "trades": told.trades,
            "candles": {str(timeframe): number for timeframe, number in outcome.candles.items()},
            "sha256": outcome.sha256,
            "gaps": recording.gaps,
            "cut": [str(path) for path in recording.cut],
            "unknown": dict(told.unknown),
        }
        if is_json:
            self.stdout.write(json.dumps(answer))
            return
        each = ", ".join(f"{number:,} of {timeframe}" for timeframe, number in outcome.candles.items())
        self.stdout.write(
            f"{told.exchange}: {told.frames:,} frames in {told.batches:,} batches, {told.trades:,} trades\n"
            f"candles: {each or 'none'}\nsha256: {outcome.sha256}"
        )
        if recording.gaps:
            self.stdout.write(f"gaps noted by the recording: {recording.gaps}")
        for path in recording.cut:
            self.stdout.write(f"{path} ends abruptly; everything before that was replayed")
        if told.unknown:
            names = " ".join(name for name, _ in told.unknown.most_common(10))
            self.stdout.write(f"{told.unknown.total():,} trades of unknown symbols left out: {names}")


def _refuse_while_live(slug: str) -> None:
    """Old prices among new ones would spoil both."""
    if observed.stream_state(slug).get("state") in IS_LIVE:
        why = f"{slug} streams now; stop_exchange {slug} first, or replay in a deployment of its own"
        raise CommandError(why, returncode=HELD)


def _know_symbols(recording: Recording, file: Path | None) -> None:
    slug = recording.header.exchange
    if file is not None:
        list_symbols(slug, _listed(file))
    known = symbols.book(slug).names
    recorded = [listed.native for listed in recording.header.symbols]
    if not known or (recorded and not any(native in known for native in recorded)):
        own = " (a recording tells its own)" if recorded else ""
        raise InvalidInput(
            f"none of the recording's symbols is known at {slug}; run sync_symbols {slug}, or add --symbols FILE{own}"
        )


def _listed(file: Path) -> Iterable[Listed]:
    """The symbols of a recording, or of JSON such as `{"BTCUSDT": "BTC-USDT"}`."""
    try:
        content = file.read_bytes() if file.suffix == ".json" else None
        if content is None:
            return Recording(file).header.symbols
        return [Listed(native, name) for native, name in msgspec.json.decode(content, type=dict[str, str]).items()]
    except (OSError, msgspec.DecodeError, InvalidInput) as error:
        accepted = 'accepted: a recording, or a .json of {"NATIVE": "BASE-QUOTE"}'
        raise InvalidInput(f"--symbols: {error}; {accepted}") from None


def _publish(recording: Recording, follower: Follower, speed: float, progress: Progress) -> None:
    """Every batch at its time, but never more than the broker should hold."""
    told = follower.told
    began, first_ns = time.monotonic(), 0

    def show(stored: int) -> None:
        progress(f"{told.exchange}: {told.frames:,} frames sent, {stored:,} of {told.batches:,} batches stored")

    for batch in recording.batches():
        first_ns = first_ns or batch.received_ns
        due = began + max(0, batch.received_ns - first_ns) / 1e9 / speed if speed else 0.0
        while (wait_s := due - time.monotonic()) > 0:
            show(follower.stored())
            time.sleep(min(wait_s, _LOOK_EVERY_S))
        if told.batches % (MAX_WAITING // 5) == 0:
            _wait_for_ingest(follower, told.batches - MAX_WAITING, show)
        follower.expect(batch)
        candles.tasks.publish_batch(batch)


def _wait_for_ingest(follower: Follower, wanted: int, show: Callable[[int], None]) -> None:
    """Until so many batches are stored; raises `CommandError` when nothing moves."""
    seen, moved_at = -1, time.monotonic()
    while (stored := follower.stored()) < wanted:
        if stored != seen:
            seen, moved_at = stored, time.monotonic()
        elif time.monotonic() - moved_at > STALLED_AFTER_S:
            told = follower.told
            raise CommandError(
                f"{stored} of {told.batches} batches are stored, no more come; is ticks.{told.exchange}.0 served?",
                returncode=TIMEOUT,
            )
        show(stored)
        time.sleep(_LOOK_EVERY_S)


def _settled(follower: Follower, progress: Progress) -> Outcome:
    """Everything stored and closed, and judged again until that changes nothing."""
    slug, total = follower.told.exchange, follower.told.batches
    _wait_for_ingest(follower, total, lambda stored: progress(f"{slug}: {stored:,} of {total:,} batches stored"))
    _wait_for_closing(follower, progress)
    outcome = follower.outcome()
    for _ in range(MAX_PASSES):
        follower.judge_again()
        _wait_for_closing(follower, progress)
        previous, outcome = outcome, follower.outcome()
        if outcome == previous:
            return outcome
    raise CommandError(f"the candles of {slug} still change; is anything else writing them?", returncode=TIMEOUT)


def _wait_for_closing(follower: Follower, progress: Progress) -> None:
    """Until no replayed bucket is due; those that have not ended yet are waited for."""
    slug, until_ms = follower.told.exchange, follower.open_until_ms()
    seen, moved_at = -1, time.monotonic()
    while due := follower.still_due():
        if len(due) != seen or time.time() * 1000 < until_ms:
            seen, moved_at = len(due), time.monotonic()
        elif time.monotonic() - moved_at > STALLED_AFTER_S:
            raise CommandError(
                f"{len(due)} buckets are not closed; do beat and a worker of the queue candles run?",
                returncode=TIMEOUT,
            )
        progress(f"{slug}: {len(due):,} of {len(follower.told.buckets):,} buckets to close")
        time.sleep(_LOOK_EVERY_S)


def _clock(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%H:%M:%S} UTC"


def _speed(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1e6:
        raise ArgumentTypeError(f"{text!r} is no speed; accepted: 1 as recorded, 20 for 20 times as fast, 0 no wait")
    return value
