"""Recordings: every frame comes back, whatever cuts the file off, in the same batches every time."""

from __future__ import annotations

import gzip
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import zstandard

from exchanges.batching import MAX_AGE_NS, MAX_FRAMES
from exchanges.recorded import Recording
from exchanges.recording import FORMAT, Header, Listed, Writer, part_path
from livermore.core.errors import InvalidInput
from livermore.core.frame import FrameBatch
from livermore.core.gap import Cause, Gap

HEADER = Header(FORMAT, "toy-1", 0, "toy", "127.0.0.1", 1, {"livermore": "0.1.0"}, (Listed("BTCUSDT", "BTC-USDT", 8),))
SECOND = 1_000_000_000


def batch(connection: str, number: int, frames: list[bytes], received_ns: int) -> FrameBatch:
    return FrameBatch("toy", connection, number, 0, tuple(frames), ((len(frames), received_ns),))


def written(path: Path, batches: list[FrameBatch], **options: int) -> Writer:
    writer = Writer(path, HEADER, **options)
    for one in batches:
        writer.write(one)
    writer.close()
    return writer


def payloads(path: Path) -> list[bytes]:
    return [frame.payload for frame in Recording(path).frames()]


def noise(count: int, size: int = 400) -> list[bytes]:
    rng = random.Random(1)
    return [rng.randbytes(size) for _ in range(count)]


# ---- what goes in comes out ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "frame",
    [b'{"p":"1.0"}', b"", b"two\nlines\r\n\x00", "prix en €, 価格 \u2028".encode(), b"\xff\xfe\x80", bytes(range(256))],
)
def test_a_frame_comes_back_byte_for_byte(tmp_path, frame):
    written(tmp_path / "a.zst", [batch("c", 0, [frame], 7)])
    (found,) = Recording(tmp_path / "a.zst").frames()
    assert (found.payload, found.connection, found.received_ns) == (frame, "c", 7)


def test_receive_times_and_connections_are_kept_per_frame(tmp_path):
    one = FrameBatch("toy", "a", 0, 0, (b"1", b"2", b"3"), ((2, 10), (1, 20)))
    written(tmp_path / "a.zst", [one, batch("b", 0, [b"4"], 15)])
    found = [(f.received_ns, f.connection, f.payload) for f in Recording(tmp_path / "a.zst").frames()]
    assert found == [(10, "a", b"1"), (10, "a", b"2"), (20, "a", b"3"), (15, "b", b"4")]


def test_gaps_are_written_between_the_frames_and_counted(tmp_path):
    writer = Writer(tmp_path / "a.zst", HEADER)
    writer.note(Gap("toy", 1, 2, Cause.DISCONNECT, ("BTC-USDT",), "c"))
    writer.write(batch("c", 0, [b"x"], 1))
    writer.close()
    reading = Recording(tmp_path / "a.zst")
    assert [f.payload for f in reading.frames()] == [b"x"]
    assert reading.gaps == 1
    lines = zstandard.ZstdDecompressor().decompressobj().decompress((tmp_path / "a.zst").read_bytes()).splitlines()
    told = {"cause": "disconnect", "from_ns": 1, "to_ns": 2, "c": "c", "symbols": ["BTC-USDT"]}
    assert json.loads(lines[1]) == {"gap": told}


def test_a_large_recording_goes_on_in_parts_that_are_readable_alone(tmp_path):
    frames = noise(60)
    writer = written(tmp_path / "a.zst", [batch("c", n, [f], n) for n, f in enumerate(frames)], max_part_bytes=5_000)
    paths = [part_path(tmp_path / "a.zst", n) for n in range(writer.parts)]
    assert [p.name for p in paths[:3]] == ["a.zst", "a.001.zst", "a.002.zst"]
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    assert writer.written_bytes == sum(p.stat().st_size for p in paths)
    assert max(p.stat().st_size for p in paths) < 6_000
    assert payloads(paths[0]) == frames
    apart = [payloads(p.rename(tmp_path / f"alone{n}.zst")) for n, p in enumerate(paths)]
    assert [f for part in apart for f in part] == frames
    assert all(apart)
    numbers = [Recording(tmp_path / f"alone{n}.zst").header.part for n in range(writer.parts)]
    assert numbers == list(range(writer.parts))


# ---- crashes and damage ----------------------------------------------------------------------------

ENDLESS = """
import sys, itertools
from pathlib import Path
from exchanges.recording import Writer
from tests.exchanges.test_recording import HEADER, batch
writer = Writer(Path(sys.argv[1]), HEADER)
for n in itertools.count():
    writer.write(batch("c", n, [f"frame {n}".encode()], n))
    print(n, flush=True)
"""


def test_what_was_written_before_a_kill_is_read_after_it(tmp_path):
    path = tmp_path / "a.zst"
    process = subprocess.Popen([sys.executable, "-c", ENDLESS, str(path)], stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if int(line) >= 500:
            break
    process.send_signal(signal.SIGKILL)
    told = [int(number) for number in process.stdout.read().split()]
    process.wait(10)
    reading = Recording(path)
    found = [f.payload for f in reading.frames()]
    last = max([500, *told])
    assert found == [f"frame {n}".encode() for n in range(len(found))]
    assert len(found) > last
    assert reading.cut == [path]


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.99])
def test_a_file_cut_off_anywhere_gives_what_comes_before_the_cut(tmp_path, kept):
    frames = noise(50)
    written(tmp_path / "a.zst", [batch("c", n, [f], n) for n, f in enumerate(frames)])
    content = (tmp_path / "a.zst").read_bytes()
    (tmp_path / "a.zst").write_bytes(content[: int(len(content) * kept)])
    reading = Recording(tmp_path / "a.zst")
    found = [f.payload for f in reading.frames()]
    assert found == frames[: len(found)]
    assert len(found) >= int(50 * kept) - 2
    assert reading.cut == [tmp_path / "a.zst"]


def test_a_whole_file_is_not_called_cut(tmp_path):
    written(tmp_path / "a.zst", [batch("c", 0, [b"x"], 1)])
    reading = Recording(tmp_path / "a.zst")
    assert len(list(reading.frames())) == 1
    assert reading.cut == []


FULL = """
import resource, sys
from pathlib import Path
import django
django.setup()
from exchanges.management.commands.record import _Sink
from exchanges.recording import Writer
from tests.exchanges.test_recording import HEADER, batch, noise
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
sink = _Sink(Writer(Path(sys.argv[1]), HEADER))
for n, frame in enumerate(noise(200)):
    sink.take(batch("c", n, [frame], n))
sink.close()
print(sink.failure)
"""


def test_a_disk_that_takes_no_more_ends_the_recording_and_keeps_what_it_has(tmp_path):
    path = tmp_path / "a.zst"
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "livermore.settings"}
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(path)], capture_output=True, text=True, env=environment, check=False
    )
    assert (done.stdout, done.stderr) == ("File too large\n", "")
    found = payloads(path)
    assert found == noise(200)[: len(found)]
    assert len(found) > 30


def test_an_existing_recording_is_never_written_over(tmp_path):
    written(tmp_path / "a.zst", [])
    with pytest.raises(InvalidInput, match="exists already"):
        Writer(tmp_path / "a.zst", HEADER)
    part_path(tmp_path / "b.zst", 1).touch()
    with pytest.raises(InvalidInput, match=r"b\.001\.zst exists already"):
        Writer(tmp_path / "b.zst", HEADER)


def test_a_part_of_another_recording_is_refused(tmp_path):
    written(tmp_path / "a.zst", [batch("c", 0, [b"x"], 1)])
    other = Writer(tmp_path / "b.zst", msgspec.structs.replace(HEADER, recording="toy-2"))
    other.close()
    (tmp_path / "b.zst").rename(tmp_path / "a.001.zst")
    with pytest.raises(InvalidInput, match="another recording"):
        payloads(tmp_path / "a.zst")


def compressed(text: str) -> bytes:
    return zstandard.ZstdCompressor().compress(text.encode())


BEGINNING = msgspec.json.encode(HEADER).decode() + "\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no recording"),
        (b"plain text", "no recording"),
        (compressed("nonsense\n"), "does not begin"),
        (compressed(BEGINNING.replace(":1,", ":2,", 1)), "format 2"),
        (compressed(BEGINNING + "nonsense\n"), "no frame"),
        (compressed(BEGINNING + '{"t":1,"c":"c"}\n'), "no frame"),
        (compressed(BEGINNING + '{"t":1,"c":"c","b64":"€"}\n'), "no frame"),
        (compressed(BEGINNING) + compressed(BEGINNING), "goes on after"),
    ],
)
def test_what_is_no_recording_is_refused_in_one_line(tmp_path, content, words):
    (tmp_path / "a.zst").write_bytes(content)
    with pytest.raises(InvalidInput, match=words) as caught:
        payloads(tmp_path / "a.zst")
    assert "\n" not in str(caught.value)


def test_a_damaged_middle_is_refused(tmp_path):
    written(tmp_path / "a.zst", [batch("c", n, [f], n) for n, f in enumerate(noise(2_000))])
    content = bytearray((tmp_path / "a.zst").read_bytes())
    for at in range(1_000, len(content), 97):
        content[at] ^= 0xFF
    (tmp_path / "a.zst").write_bytes(content)
    with pytest.raises(InvalidInput):
        payloads(tmp_path / "a.zst")


# ---- batches of a replay ---------------------------------------------------------------------------


def test_batches_are_the_same_every_time_and_lose_nothing(tmp_path):
    frames = [f"{n}".encode() for n in range(3_000)]
    written(tmp_path / "a.zst", [batch("ab"[n % 2], n, [f], n * 10_000_000) for n, f in enumerate(frames)])
    first, second = list(Recording(tmp_path / "a.zst").batches()), list(Recording(tmp_path / "a.zst").batches())
    assert first == second
    assert sorted(int(f) for one in first for f in one.frames) == list(range(3_000))
    for name in {one.connection for one in first}:
        numbers = [one.number for one in first if one.connection == name]
        assert numbers == list(range(len(numbers)))
    assert len({one.connection for one in first}) == 2
    assert all(one.received_ns - one.arrivals[0][1] <= MAX_AGE_NS for one in first)
    assert [one.received_ns for one in first] == sorted(one.received_ns for one in first)


def test_a_batch_ends_by_count_where_the_times_do_not_differ(tmp_path):
    written(tmp_path / "a.zst", [batch("c", 0, [b"x"] * (MAX_FRAMES + 5), 1)])
    assert [len(one.frames) for one in Recording(tmp_path / "a.zst").batches()] == [MAX_FRAMES, 5]


def test_connections_are_called_otherwise_in_another_recording_and_from_another_part_on(tmp_path):
    written(tmp_path / "a.zst", [batch("c", n, [f], n * SECOND) for n, f in enumerate(noise(9))], max_part_bytes=1_500)
    other = Writer(tmp_path / "b.zst", msgspec.structs.replace(HEADER, recording="toy-2"))
    other.write(batch("c", 0, [b"x"], 1))
    other.close()
    names = [
        {one.connection for one in Recording(tmp_path / name).batches()} for name in ("a.zst", "a.001.zst", "b.zst")
    ]
    assert [len(n) for n in names] == [1, 1, 1]
    assert len(set.union(*names)) == 3


# ---- other recorders -------------------------------------------------------------------------------


def foreign(path: Path) -> None:
    rows = [
        {"t": 1.5, "conn": "wss://x", "dir": "out", "text": "subscribe"},
        {"t": 1.75, "conn": "wss://x", "dir": "in", "text": "one"},
        {"t": None, "conn": "wss://x", "dir": "in", "b64": "/wA="},
    ]
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))


def test_frames_of_another_recorder_are_read_when_the_exchange_is_given(tmp_path):
    foreign(tmp_path / "ws.jsonl.gz")
    reading = Recording(tmp_path / "ws.jsonl.gz", "toy")
    found = [(f.received_ns, f.connection, f.payload) for f in reading.frames()]
    assert found == [(1_750_000_000, "wss://x", b"one"), (0, "wss://x", b"\xff\x00")]
    assert reading.header.exchange == "toy"
    assert reading.cut == []


def test_the_exchange_must_be_given_exactly_where_it_is_not_told(tmp_path):
    foreign(tmp_path / "ws.jsonl.gz")
    with pytest.raises(InvalidInput, match="--exchange"):
        Recording(tmp_path / "ws.jsonl.gz")
    written(tmp_path / "a.zst", [])
    assert Recording(tmp_path / "a.zst", "toy").header == HEADER
    with pytest.raises(InvalidInput, match="is of toy"):
        Recording(tmp_path / "a.zst", "other")


def test_a_cut_gzip_gives_what_comes_before_the_cut(tmp_path):
    foreign(tmp_path / "ws.jsonl.gz")
    content = (tmp_path / "ws.jsonl.gz").read_bytes()
    (tmp_path / "ws.jsonl.gz").write_bytes(content[:-4])
    reading = Recording(tmp_path / "ws.jsonl.gz", "toy")
    assert len(list(reading.frames())) == 2
    assert reading.cut
