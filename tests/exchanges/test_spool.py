"""What waits on disk: in order, whole or cut, bounded, found by a successor; with real files, processes and kills."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from exchanges.outbox import PACKED_FROM, Outbox
from exchanges.segment import Segment
from exchanges.spool import Spool
from exchanges.wire import pack
from livermore.core.errors import FrameRejected, StoreUnavailable
from livermore.core.frame import FrameBatch
from tests.support.waiting import until

ROOT = Path(__file__).resolve().parents[2]
MB = 1024**2


def batch(number: int, size: int = 10, epoch: int = 1) -> FrameBatch:
    return FrameBatch("venue", "c1", number, epoch, (os.urandom(size), b"two\nlines"), ((2, 1_000 + number),))


def taken(spool: Spool) -> Iterator[FrameBatch]:
    """Everything, as the outbox takes it."""
    while (found := spool.first()) is not None:
        yield found[1]
        spool.drop(found[0])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "spool" / "venue"


def segments(root: Path) -> list[Path]:
    return sorted(root.glob("*/*.seg"))


# ---- a spool alone ---------------------------------------------------------------------------------


def test_batches_come_back_in_order_byte_for_byte_and_leave_no_file(root: Path) -> None:
    spool, put = Spool(root, 1), [batch(number) for number in range(50)]
    for each in put:
        spool.append(pack(each))
    assert (len(spool), spool.oldest_ns) == (50, 1_000)
    assert spool.bytes == sum(path.stat().st_size for path in segments(root))
    assert list(taken(spool)) == put
    assert (len(spool), spool.bytes, spool.oldest_ns) == (0, 0, None)
    spool.close()
    assert list(root.iterdir()) == []


def test_only_its_owner_may_read_it(root: Path) -> None:
    spool = Spool(root, 1)
    spool.append(pack(batch(0)))
    [file] = segments(root)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    spool.close()


def test_beyond_its_bound_the_oldest_go_and_are_told(root: Path) -> None:
    spool, told = Spool(root, 1, max_bytes=MB), []
    for number in range(150):
        spool.append(pack(batch(number, 10_000)))
        told += [lost.number for lost in spool.overflow()]
        assert spool.bytes <= MB
    kept = [each.number for each in taken(spool)]
    assert len(kept) > 80
    assert told + kept == list(range(150))
    spool.close()


def test_a_full_disk_costs_the_oldest_segment(root: Path) -> None:
    spool = Spool(root, 1, max_bytes=MB)
    for number in range(60):
        spool.append(pack(batch(number, 10_000)))
    assert list(spool.overflow(OSError(errno.EIO, "broken"))) == [], "less on it would not help"
    shed = [lost.number for lost in spool.overflow(OSError(errno.ENOSPC, "full"))]
    assert 0 < len(shed) < 10
    assert shed + [each.number for each in taken(spool)] == list(range(60))
    spool.close()


def test_a_batch_that_is_shed_while_it_is_published_takes_no_other_with_it(root: Path) -> None:
    spool = Spool(root, 1, max_bytes=16_000)
    spool.append(pack(batch(0, 1_500)))
    found = spool.first()
    assert found is not None
    for number in range(1, 20):
        spool.append(pack(batch(number, 1_500)))
    shed = [lost.number for lost in spool.overflow()]
    assert 0 in shed
    spool.drop(found[0])
    assert [each.number for each in taken(spool)] == list(range(len(shed), 20))
    spool.close()


def test_what_is_left_is_adopted_before_all_else_with_the_epoch_of_the_heir(root: Path) -> None:
    for epoch in (2, 10):
        dead = Spool(root, epoch)
        dead.append(pack(batch(epoch, epoch=epoch)))
        dead.close()
    heir = Spool(root, 11)
    heir.append(pack(batch(11, epoch=11)))
    heir.adopt()
    assert [(each.number, each.epoch) for each in taken(heir)] == [(2, 11), (10, 11), (11, 11)]
    heir.close()
    assert list(root.iterdir()) == []


def test_a_living_owners_batches_are_its_own(root: Path) -> None:
    living, other = Spool(root, 1), Spool(root, 2)
    living.append(pack(batch(0)))
    other.adopt()
    assert len(other) == 0
    living.close()
    other.adopt()
    assert len(other) == 1
    other.close()


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_torn_end_is_cut_and_told_and_the_rest_is_kept(root: Path, cut: int, caplog) -> None:
    dead = Spool(root, 1)
    ends = []
    for number in range(5):
        dead.append(pack(batch(number)))
        ends.append(dead.bytes)
    dead.close()
    [file] = segments(root)
    os.truncate(file, ends[3] + cut)
    heir = Spool(root, 2)
    heir.adopt()
    assert [each.number for each in taken(heir)] == [0, 1, 2, 3]
    [told] = [r.fields for r in caplog.records if r.getMessage() == "spool.torn"]
    assert (told["kept"], told["cut_bytes"]) == (4, cut)
    heir.close()


def test_a_last_batch_whose_bytes_never_reached_the_disk_is_cut(root: Path) -> None:
    dead = Spool(root, 1)
    for number in range(3):
        dead.append(pack(batch(number, 100)))
    dead.close()
    [file] = segments(root)
    with file.open("r+b") as torn:
        torn.seek(-50, os.SEEK_END)
        torn.write(bytes(50))
    segment, useless = Segment.found(file)
    assert len(segment.records) == 2
    assert useless > 100
    segment.close()


def test_a_damaged_batch_is_left_out_and_the_next_one_read(root: Path, caplog) -> None:
    spool = Spool(root, 1)
    for number in range(3):
        spool.append(pack(batch(number, 200)))
    [file] = segments(root)
    with file.open("r+b") as damaged:
        damaged.seek(file.stat().st_size // 2)
        damaged.write(b"\x00" * 8)
    assert [each.number for each in taken(spool)] == [0, 2]
    assert "spool.unreadable" in [r.getMessage() for r in caplog.records]
    spool.close()


def test_a_file_of_another_format_is_put_aside_and_kept(root: Path) -> None:
    (root / "0000000001.ab").mkdir(parents=True)
    (root / "0000000001.ab" / "00000001.seg").write_bytes(b"LVSPOOL9 and what it may mean")
    heir = Spool(root, 2)
    heir.adopt()
    assert len(heir) == 0
    assert [path.name for path in root.glob("*/*")] == ["00000001.unread"]
    heir.close()


def test_a_file_with_nothing_whole_in_it_is_no_obstacle(root: Path) -> None:
    (root / "0000000001.ab").mkdir(parents=True)
    for number, content in enumerate((b"", b"LVSP", b"LVSPOOL1", b"LVSPOOL1\x00\x00")):
        (root / "0000000001.ab" / f"{number:08d}.seg").write_bytes(content)
    heir = Spool(root, 2)
    heir.adopt()
    assert (len(heir), heir.bytes, heir.first()) == (0, 0, None)
    heir.close()
    assert list(root.iterdir()) == []


def test_a_segment_refuses_what_is_no_batch(root: Path) -> None:
    root.mkdir(parents=True)
    segment = Segment.create(root / "x.seg")
    record = segment.append({"v": 99, "arrivals": [[1, 7]]})
    assert record.oldest_ns == 7
    with pytest.raises(FrameRejected, match="version 99"):
        segment.read(record)
    segment.remove()


# ---- in an outbox ----------------------------------------------------------------------------------


class Broker:
    """Takes batches while `is_here`."""

    def __init__(self, *, is_here: bool = False) -> None:
        self.is_here, self.taken = is_here, []

    def __call__(self, offered: FrameBatch) -> None:
        if not self.is_here:
            raise StoreUnavailable("away")
        self.taken.append(offered)

    @property
    def numbers(self) -> list[int]:
        return [each.number for each in self.taken]


def test_an_outage_goes_to_disk_with_the_batch_in_hand_and_comes_back_in_order(root: Path) -> None:
    broker, spool = Broker(), Spool(root, 1)
    outbox = Outbox(broker, pytest.fail, spool=spool)
    outbox.start()
    put = [batch(number) for number in range(500)]
    for each in put[:300]:
        outbox.put(each)
    until(lambda: len(spool) == 300)
    told = outbox.figures()
    assert (told["spooled"], told["spooled_from_ns"]) == (300, 1_000)
    assert told["spooled_bytes"] == spool.bytes
    broker.is_here = True
    for each in put[300:]:
        outbox.put(each)
    assert outbox.drain(10)
    assert broker.taken == put
    assert outbox.figures()["spooled_bytes"] == 0
    assert list(root.iterdir()) == []


def test_a_broker_that_keeps_up_costs_no_file(root: Path) -> None:
    broker = Broker(is_here=True)
    outbox = Outbox(broker, pytest.fail, spool=Spool(root, 1))
    outbox.start()
    for number in range(PACKED_FROM):
        outbox.put(batch(number))
    assert outbox.drain(5)
    assert broker.numbers == list(range(PACKED_FROM))
    assert not root.exists()


def test_what_waits_at_the_end_is_published_by_the_next_stream_first(root: Path) -> None:
    first = Outbox(Broker(), pytest.fail, spool=Spool(root, 1))
    first.start()
    for number in range(3):
        first.put(batch(number))
    assert not first.drain(0.1), "told as left behind"
    broker = Broker(is_here=True)
    second = Outbox(broker, pytest.fail, spool=Spool(root, 2))
    second.put(batch(3, epoch=2))
    second.start()
    until(lambda: second.published == 4)
    assert broker.numbers == [0, 1, 2, 3]
    assert {each.epoch for each in broker.taken} == {2}
    assert second.drain(5)


def test_a_disk_that_takes_nothing_leaves_batches_in_memory_within_the_bound(root: Path) -> None:
    root.parent.mkdir(parents=True)
    root.write_text("no folder can be made here")
    shed: list[int] = []
    broker = Broker()
    outbox = Outbox(broker, lambda lost: shed.append(lost.number), spool=Spool(root, 1), max_bytes=10_000)
    outbox.start()
    for number in range(300):
        outbox.put(batch(number, 100))
    until(lambda: shed)
    broker.is_here = True
    assert outbox.drain(10)
    assert sorted(shed + broker.numbers) == list(range(300))
    assert all(a < b for a, b in pairwise(broker.numbers))


def test_what_the_disk_refuses_in_the_middle_of_an_outage_waits_in_memory_behind_it(root: Path) -> None:
    """The kernel lets files grow no further, in a process of its own."""
    program = PROGRAM.format(root=str(root), max_bytes=64 * MB, count=400, size=2_000, ending=REFUSED)
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "kept"


# ---- a killed owner --------------------------------------------------------------------------------

PROGRAM = """
import os, sys, time, resource, signal
from pathlib import Path
from exchanges.outbox import Outbox
from exchanges.spool import Spool
from livermore.core.errors import StoreUnavailable
from livermore.core.frame import FrameBatch

def publish(batch):
    if is_away:
        raise StoreUnavailable("away")
    taken.append(batch.number)

is_away, taken, shed = True, [], []
spool = Spool(Path({root!r}), 7, max_bytes={max_bytes})
outbox = Outbox(publish, lambda lost: shed.append(lost.number), spool=spool)
outbox.start()
def put(numbers):
    for number in numbers:
        outbox.put(FrameBatch("venue", "dead", number, 7, (os.urandom({size}),), ((1, number),)))
put(range({count}))
{ending}
"""
SPOOLED = """
while len(spool) < 300:
    time.sleep(0.01)
print("spooled", flush=True)
time.sleep(600)
"""
REFUSED = """
while len(spool) < 400:
    time.sleep(0.01)
resource.setrlimit(resource.RLIMIT_FSIZE, (spool.bytes + 1_000, spool.bytes + 1_000))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
put(range(400, 500))
time.sleep(0.5)
is_away = False
assert outbox.drain(20)
assert (taken, shed) == (list(range(500)), []), (len(taken), len(shed))
print("kept")
"""


def test_after_sigkill_the_next_owner_publishes_what_the_dead_one_had_spooled(root: Path) -> None:
    program = PROGRAM.format(root=str(root), max_bytes=64 * MB, count=300, size=5_000, ending=SPOOLED)
    dead = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert dead.stdout is not None
    assert dead.stdout.readline() == "spooled\n"
    too_early = Spool(root, 8)
    too_early.adopt()
    assert len(too_early) == 0, "its owner lives"
    dead.send_signal(signal.SIGKILL)
    dead.wait()
    broker = Broker(is_here=True)
    heir = Outbox(broker, pytest.fail, spool=Spool(root, 8))
    heir.start()
    until(lambda: heir.published == 300)
    assert broker.numbers == list(range(300))
    assert {(each.connection, each.epoch) for each in broker.taken} == {("dead", 8)}
    assert heir.drain(5)
    assert list(root.iterdir()) == []
